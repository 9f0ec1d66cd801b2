"""All constants of a program in one block, each aligned, equal ones stored once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from footprint_compiler.program import Program


@dataclass(frozen=True)
class Weights:
    """The block as it lies in flash.

    Attributes:
        data: the bytes; little-endian, dense.
        offsets: constant name -> offset in bytes; names with equal content share one.
        align_bytes: of the block and of every constant in it.
    """

    data: bytes
    offsets: Mapping[str, int]
    align_bytes: int


def pack_weights(program: Program, align_bytes: int) -> Weights:
    """Lays out the constants that calls read, in the order of their first use.

    Constants that no call reads are left out.
    """
    return pack_together([program], align_bytes)[0]


def pack_together(programs: Sequence[Program], align_bytes: int) -> tuple[Weights, ...]:
    """One block for the constants of several programs; equal ones are stored once for all.

    Returns:
        For each program the whole block, with offsets of its own constants.
    """
    data = bytearray()
    known: dict[bytes, int] = {}
    found: list[dict[str, int]] = []
    for program in programs:
        offsets: dict[str, int] = {}
        found.append(offsets)
        for name in (name for call in program.calls for name in call.inputs):
            if name in offsets or name not in program.constants:
                continue
            content = little_endian(program.constants[name])
            key = hashlib.sha256(content).digest()
            if key not in known:
                data.extend(bytes(-len(data) % align_bytes))
                known[key] = len(data)
                data.extend(content)
            offsets[name] = known[key]
    return tuple(Weights(bytes(data), offsets, align_bytes) for offsets in found)


def little_endian(array: np.ndarray) -> bytes:
    """The elements of ``array`` in memory, dense, row-major."""
    return array.astype(array.dtype.newbyteorder("<"), order="C", copy=False).tobytes()
