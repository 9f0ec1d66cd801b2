"""The files between the host and the harness: a request with inputs, outputs, a report."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from footprint_compiler.artifact import Artifact
from footprint_compiler.errors import RunnerError
from footprint_compiler.runtime.check import numpy_dtype

MAGIC = 0x31435046
_REQUEST = struct.Struct("<III")
_REPORT = struct.Struct("<IiiIIIIIIII")

#: What the C API returns for success.
OK = 0


@dataclass(frozen=True)
class Report:
    """What the harness found, as in ``harness.c``."""

    init_result: int
    invoke_result: int
    arena_touched_bytes: int
    stack_used_bytes: int
    guards_below: int
    guards_above: int
    stack_overflow: int
    first_hash: int
    last_hash: int
    flash_changed: int = 0


def encode_request(arrays: Sequence[np.ndarray], runs: int, trap_unaligned: bool) -> bytes:
    """The bytes of ``in.bin``: dense arrays in the order of the inputs, little-endian."""
    header = _REQUEST.pack(MAGIC, runs, int(trap_unaligned))
    little = [array.astype(array.dtype.newbyteorder("<"), copy=False) for array in arrays]
    return header + b"".join(array.tobytes() for array in little)


def decode_outputs(artifact: Artifact, data: bytes) -> dict[str, np.ndarray]:
    """Output arrays from the bytes of ``out.bin``.

    Raises:
        RunnerError: there are fewer or more bytes than the outputs have.
    """
    wanted = sum(spec.size_bytes for spec in artifact.outputs)
    if len(data) != wanted:
        raise RunnerError(f"the outputs have {wanted} bytes, the emulator wrote {len(data)}")
    outputs: dict[str, np.ndarray] = {}
    start = 0
    for spec in artifact.outputs:
        raw = data[start : start + spec.size_bytes]
        outputs[spec.name] = np.frombuffer(raw, numpy_dtype(spec.dtype)).reshape(spec.shape).copy()
        start += spec.size_bytes
    return outputs


def decode_report(data: bytes) -> Report:
    """The report from the bytes of ``report.bin``.

    Raises:
        RunnerError: it is not a report.
    """
    if len(data) != _REPORT.size or _REPORT.unpack(data)[0] != MAGIC:
        raise RunnerError("the emulator wrote no valid report")
    return Report(*_REPORT.unpack(data)[1:])


def check_report(report: Report, stack_bytes: int) -> None:
    """Refuse a run that broke one of the guarantees of an artifact.

    Args:
        stack_bytes: the worst case that the manifest states.

    Raises:
        RunnerError: init or invoke failed, more stack than stated, a write outside the arena or to
            code and constants, or two runs on the same inputs that differ.
    """
    if report.init_result != OK:
        raise RunnerError(f"init returned {report.init_result}")
    if report.invoke_result != OK:
        raise RunnerError(f"invoke returned {report.invoke_result}")
    if report.stack_overflow or report.stack_used_bytes > stack_bytes:
        least = "at least " if report.stack_overflow else ""
        raise RunnerError(
            f"the model used {least}{report.stack_used_bytes} bytes of stack, "
            f"and its manifest promises {stack_bytes}",
            "Do not use this build: its stack figure is wrong. Please report it.",
        )
    if report.guards_below or report.guards_above:
        raise RunnerError(
            f"the model wrote outside its arena: {report.guards_below} guard bytes below and "
            f"{report.guards_above} above it changed",
            "Do not use this build: its memory plan or a kernel is wrong. Please report it.",
        )
    if report.flash_changed:
        raise RunnerError(
            "the model wrote over its code or constants",
            "Do not use this build: a kernel is wrong. Please report it.",
        )
    if report.first_hash != report.last_hash:
        raise RunnerError(
            "two runs on the same inputs gave different outputs",
            "Do not use this build: a kernel reads memory that nobody wrote. Please report it.",
        )
