"""Weights that are stored in fewer bits than they are multiplied in, and expanded piece by piece.

Flash holds w - low as unsigned numbers: two of 4 bits in a byte (the first in the low half), or
one of 8 bits where w itself needs nine. The kernel expands one block of output channels at a time
into a buffer, which is scratch in the arena (on the stack up to 256 bytes), and runs the whole
image over it: every weight is expanded once for each inference. Depthwise and grouped
convolutions are one block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tvm import tirx

from footprint_compiler.kernels.conv import ConvEmitter, ConvShape, Store
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.kernels.tir import index, loop, seq

BLOCK_BYTES = 1024
"""Blocks of channels are as large as the register tile wants, but no larger than this if that
leaves more than one vector."""


@dataclass(frozen=True)
class Stored:
    """How weights are stored.

    Attributes:
        bits: 4 or 8.
        low: added to what is stored.
    """

    bits: int
    low: int

    @property
    def dtype(self) -> str:
        """In which the weights are multiplied."""
        return "int8" if self.bits == 4 else "int16"

    def size(self, elements: int) -> int:
        """Bytes of so many weights."""
        return -(-elements * self.bits // 8)

    def pack(self, weights: np.ndarray) -> np.ndarray:
        """One-dimensional weights as uint8; an odd last one has a half byte of zero beside it."""
        codes = (weights.astype(np.int64) - self.low).astype(np.uint8)
        if self.bits == 8:
            return codes
        pairs = np.pad(codes, (0, codes.size % 2)).reshape(-1, 2)
        packed: np.ndarray = pairs[:, 0] | (pairs[:, 1] << 4)
        return packed

    def buffer(self, elements: int) -> Any:
        """Room for so many expanded weights, and the one beside an odd last one."""
        size = index(elements + elements % 2)
        return tirx.decl_buffer((size,), self.dtype, name="expanded")

    def expand(self, packed: Any, first_byte: Any, buffer: Any, elements: int) -> Any:
        """Fill ``buffer`` from the byte ``first_byte`` of ``packed``."""

        def value(code: Any) -> Any:
            return (code.astype("int32") + tirx.const(self.low, "int32")).astype(self.dtype)

        def byte(at: Any) -> Any:
            return tirx.BufferLoad(packed, [first_byte + at])

        def pair(at: Any) -> Any:
            low = tirx.bitwise_and(byte(at), tirx.const(15, "uint8"))
            high = tirx.shift_right(byte(at), tirx.const(4, "uint8"))
            first = at * index(2)
            return seq(
                [
                    tirx.BufferStore(buffer, value(low), [first]),
                    tirx.BufferStore(buffer, value(high), [first + index(1)]),
                ]
            )

        def single(at: Any) -> Any:
            return tirx.BufferStore(buffer, value(byte(at)), [at])

        return loop("e", 0, self.size(elements), pair if self.bits == 4 else single)


def stored_form(centred: np.ndarray) -> Stored | None:
    """The form for integer weights; None where their own dtype is as small.

    Zero is always among the numbers: packed weights have it in the lanes beyond the last channel.
    """
    low, high = min(int(centred.min()), 0), max(int(centred.max()), 0)
    if high - low <= 15:
        return Stored(4, low)
    beyond_int8 = low < -128 or high > 127
    return Stored(8, low) if beyond_int8 and high - low <= 255 else None


def stored_attributes(stored: Stored | None) -> dict[str, int]:
    """Attributes of an anchor for ``stored_of``."""
    return {} if stored is None else {"stored_bits": stored.bits, "stored_low": stored.low}


def stored_of(attrs: Mapping[str, Any]) -> Stored | None:
    """The form that an anchor's attributes ask for."""
    if not int(attrs.get("stored_bits", 0)):
        return None
    return Stored(int(attrs["stored_bits"]), int(attrs["stored_low"]))


class StoredConvEmitter:
    """A convolution of stored weights; the interface of ``ConvEmitter``."""

    def __init__(
        self,
        shape: ConvShape,
        machine: Machine,
        dtypes: tuple[str, str],
        zero_point: int,
        stored: Stored,
    ) -> None:
        self.shape = shape
        self.stored = stored

        def part(channels: int) -> ConvEmitter:
            return ConvEmitter(
                replace(shape, out_channels=channels), machine, *dtypes, zero_point=zero_point
            )

        whole = part(shape.out_channels)
        span = shape.out_channels
        if shape.groups == 1:
            most = max(1, BLOCK_BYTES // (whole.taps * whole.width))
            span = min(span, min(whole.vectors, most) * whole.width)
        self.count, rest = divmod(shape.out_channels, span)
        self.blocks = [(0, part(span))] + ([(self.count * span, part(rest))] if rest else [])
        self.span_bytes = stored.size(self.blocks[0][1].packed_elements)

    @property
    def packed_elements(self) -> int:
        """Bytes of the packed weights."""
        rest = sum(self.stored.size(part.packed_elements) for _, part in self.blocks[1:])
        return self.count * self.span_bytes + rest

    def pack(self, weights: np.ndarray) -> np.ndarray:
        """OIHW (O, C/groups, KH, KW) -> one block of channels after the other."""
        _, full = self.blocks[0]
        span = full.shape.out_channels
        pieces = [full.pack(weights[i * span : (i + 1) * span]) for i in range(self.count)]
        pieces += [part.pack(weights[first:]) for first, part in self.blocks[1:]]
        return np.concatenate([self.stored.pack(piece) for piece in pieces])

    def emit(self, x: Any, packed: Any, store: Store) -> Any:
        """The whole convolution; see ``ConvEmitter.emit``."""
        _, full = self.blocks[0]
        span = full.shape.out_channels
        buffer = self.stored.buffer(full.packed_elements)

        def block(part: ConvEmitter, first: Any, first_byte: Any) -> Any:
            def moved(n: Any, h: Any, w: Any, channel: Any, value: Any) -> Any:
                return store(n, h, w, channel + first, value)

            expand = self.stored.expand(packed, first_byte, buffer, part.packed_elements)
            return seq([expand, part.emit(x, buffer, moved)])

        parts = [
            loop(
                "block",
                0,
                self.count,
                lambda b: block(full, b * index(span), b * index(self.span_bytes)),
            )
        ]
        for first, part in self.blocks[1:]:
            parts.append(block(part, index(first), index(self.count * self.span_bytes)))
        return seq([tirx.AllocBuffer(buffer), *parts])
