"""The files that the measuring program reads and writes; ``measure.c`` is the other side."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MAGIC = 0x314D5046
INPUT, OUTPUT, SCRATCH = 0, 1, 2
TIME, COUNT = 0, 1
MOST_ARGUMENTS = 12
EXIT_GUARD = 72
ALIGN, GUARD_BYTES = 64, 256
_HEADER = struct.Struct("<7I")
_ARGUMENT = struct.Struct("<2I")
_REPORT = struct.Struct("<4I")


@dataclass(frozen=True)
class Argument:
    """One pointer argument of a kernel.

    Attributes:
        role: ``INPUT``, ``OUTPUT`` or ``SCRATCH``.
        size_bytes: of what it points to.
        data: bytes of an input.
        dtype: of an output's elements.
    """

    role: int
    size_bytes: int
    data: bytes = b""
    dtype: str = "uint8"


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        samples: most samples of each kernel, taken in turn.
        least_sample_us: least duration of one sample; short kernels are called several times.
        budget_ms: no further sample after this time, once there are three.
    """

    samples: int = 40
    least_sample_us: int = 50
    budget_ms: int = 150


@dataclass(frozen=True)
class Times:
    """Microseconds of one call, sample by sample, of the default and of the candidate."""

    default_us: np.ndarray
    candidate_us: np.ndarray


def encode_job(sides: Sequence[Sequence[Argument]], mode: int, effort: Effort) -> bytes:
    """``job.bin``: the arguments of the default kernel and of the candidate."""
    head = _HEADER.pack(
        MAGIC,
        mode,
        effort.samples,
        effort.least_sample_us * 1000,
        effort.budget_ms * 1000,
        *(len(side) for side in sides),
    )
    shapes = [_ARGUMENT.pack(a.size_bytes, a.role) for side in sides for a in side]
    data = [a.data for side in sides for a in side if a.role == INPUT]
    return b"".join([head, *shapes, *data])


def decode_outputs(
    data: bytes, sides: Sequence[Sequence[Argument]]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """``out.bin``: flat output arrays of the default kernel and of the candidate.

    Raises:
        ValueError: the file has another size.
    """
    wanted = sum(a.size_bytes for side in sides for a in side if a.role == OUTPUT)
    if len(data) != wanted:
        raise ValueError(f"out.bin holds {len(data)} bytes instead of {wanted}")
    found, offset = [], 0
    for side in sides:
        arrays = []
        for argument in side:
            if argument.role == OUTPUT:
                part = data[offset : offset + argument.size_bytes]
                arrays.append(np.frombuffer(part, np.dtype(argument.dtype)))
                offset += argument.size_bytes
        found.append(arrays)
    return found[0], found[1]


def decode_report(data: bytes) -> Times:
    """``report.bin``.

    Raises:
        ValueError: it is no report.
    """
    if len(data) < _REPORT.size:
        raise ValueError("report.bin is short")
    magic, samples, *calls = _REPORT.unpack_from(data)
    if magic != MAGIC or len(data) != _REPORT.size + 16 * samples:
        raise ValueError("report.bin is no report")
    times = np.frombuffer(data, "<u8", offset=_REPORT.size).reshape(2, samples)
    return Times(times[0] / (1000.0 * calls[0]), times[1] / (1000.0 * calls[1]))
