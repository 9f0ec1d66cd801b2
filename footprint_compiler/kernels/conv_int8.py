"""Convolution of 8-bit integers by the dot-product units of ``kernels.dot``.

out[n, h, w, o] = sum_{i,j,c} (x[n, h*sh + i*dh - pt, w*sw + j*dw - pl, g*C + c] - z) * W[o,c,i,j]
                = start[o] + sum_{i,j,c} x[...] * W[o,c,i,j]

where start[o] = -z * sum_{i,j,c} W[o,c,i,j], and x is z outside of the image. Tiles whose kernel
rows are runs of neighbours inside the image read x where it lies, if the unit can; others read a
copy (``kernels.patch``). Where no tile needs a copy, blocks of channels may be the outermost loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import tirx

from footprint_compiler.kernels.conv import ConvShape, Store, kernel_rows
from footprint_compiler.kernels.decisions import choose
from footprint_compiler.kernels.dot import DotUnit, Operands
from footprint_compiler.kernels.patch import Patch, converted, converted_zero_point, covering
from footprint_compiler.kernels.tir import index, loop, ramp, seq
from footprint_compiler.tensor import DTYPE_BYTES

STORED = 16
"""Most channels that are requantized as one vector."""


@dataclass(frozen=True)
class Columns:
    """``count`` tiles of ``pixels`` output columns from ``begin``; ``inside``: no padding read."""

    begin: int
    pixels: int
    count: int
    inside: bool


@dataclass(frozen=True)
class Block:
    """Output channels of a group that a tile computes.

    Attributes:
        first: static or symbolic.
        channels: with those that only pad the last vector; ``kept`` without.
        packed_offset: byte of the packed weights at which the block begins.
    """

    first: Any
    channels: int
    kept: int
    packed_offset: Any


EachBlock = Callable[[Callable[[Block], Any]], Any]
"""body -> ``body`` for each block of channels."""


class DotConvEmitter:
    """Emits one convolution; the same interface as ``ConvEmitter``.

    Args:
        shape: of the convolution.
        unit: how tiles are computed.
        dtype: int8 or uint8, of the input.
        zero_point: of the input.
        row: emit this output row alone.
        twice: an output may be computed and stored twice.
    """

    advantage = 1.0
    """See ``ConvEmitter``."""

    def __init__(
        self,
        shape: ConvShape,
        unit: DotUnit,
        dtype: str,
        zero_point: int = 0,
        row: Any = None,
        twice: bool = False,
    ) -> None:
        self.shape = shape
        self.twice = twice and shape.out_height * shape.out_width > 1
        self.row = row
        self.unit = unit
        self.dtype = dtype
        self.zero = converted_zero_point(zero_point, dtype, unit.operand)
        self.group_out = shape.out_channels // shape.groups
        self.group_in = shape.in_channels // shape.groups
        run = shape.kernel[1] * self.group_in
        runs = shape.kernel[1] == 1 or (shape.dilation[1] == 1 and shape.groups == 1)
        convertible = dtype == unit.operand or unit.operand == "int8"
        direct = unit.direct and convertible and runs and run % unit.granule == 0
        several = direct and shape.kernel != (1, 1)
        sources = ("direct", *(("copied",) if several else ()))
        self.direct = direct and choose("source", "direct", sources) == "direct"
        self.rows = shape.kernel[0] if self.direct else 1
        terms = shape.kernel[0] * run
        self.run = run if self.direct else -(-terms // unit.granule) * unit.granule
        self.depth = self.rows * self.run
        tiles = unit.tiles(shape.out_width, self.group_out)
        self.pixels, self.vectors = choose("tile", tiles[0], tiles)
        self.channels = self.vectors * unit.lanes
        self.columns = tile_columns(shape, self.pixels)
        orders = ("tiles", *(("blocks",) if self._copies_nothing and self._nests else ()))
        self.order = choose("order", "tiles", orders)

    @property
    def _copies_nothing(self) -> bool:
        padded = any(self.shape.padding) or any(not part.inside for part in self.columns)
        return self.direct and not padded

    @property
    def _nests(self) -> bool:
        """Whether there are several blocks, and several tiles for each."""
        tiles = self.shape.out_height * sum(part.count for part in self.columns)
        return len(self._blocks()) > 1 and tiles > 1

    @property
    def _start_bytes(self) -> int:
        return 4 if self.zero else 0

    @property
    def _channel_bytes(self) -> int:
        return self.depth * DTYPE_BYTES[self.unit.weight] + self._start_bytes

    @property
    def packed_elements(self) -> int:
        """Bytes of the packed weights, with the values from which the sums start."""
        padded = sum(channels for _, channels in self._blocks())
        return self.shape.groups * padded * self._channel_bytes

    def pack(self, weights: np.ndarray) -> np.ndarray:
        """OIHW (O, C/groups, KH, KW) -> blocks of channels: their starts, then their weights."""
        pieces = []
        for group in np.split(weights, self.shape.groups):
            flat = group.transpose(0, 2, 3, 1).reshape(self.group_out, -1)
            flat = np.pad(flat, ((0, 0), (0, self.depth - flat.shape[1])))
            for first, channels in self._blocks():
                block = flat[first : first + channels]
                block = np.pad(block, ((0, channels - block.shape[0]), (0, 0)))
                if self.zero:
                    start = -self.zero * block.sum(axis=1, dtype=np.int64)
                    pieces.append(start.astype("<i4").view(np.int8))
                pieces.append(
                    self.unit.pack(block.astype(self.unit.weight), self.run).view(np.int8)
                )
        return np.ascontiguousarray(np.concatenate(pieces))

    def _blocks(self) -> list[tuple[int, int]]:
        """(first channel in the group, channels with padding) of each block of a group."""
        padded = -(-self.group_out // self.unit.lanes) * self.unit.lanes
        found = []
        for first in range(0, padded, self.channels):
            channels = min(self.channels, padded - first)
            overlaps = self.twice and channels <= self.group_out
            found.append((min(first, self.group_out - channels) if overlaps else first, channels))
        return found

    def emit(self, x: Any, packed: Any, store: Store, base: int = 0) -> Any:
        """The whole convolution; see ``ConvEmitter.emit``."""
        shape = self.shape
        tallest = max(part.pixels for part in self.columns)
        buffer = tirx.decl_buffer((index(tallest * self.depth),), self.unit.operand, name="patch")
        patch = Patch(
            shape, x, self.dtype, self.unit.operand, self.zero, buffer, self.depth, STORED
        )

        def row(n: Any, g: Any, h: Any, each: EachBlock) -> Any:
            return seq(
                [self._tiles(n, g, h, part, x, packed, store, each, patch) for part in self.columns]
            )

        def rows(n: Any, g: Any, each: EachBlock) -> Any:
            if self.row is not None:
                return row(n, g, self.row, each)
            return loop("h", 0, shape.out_height, lambda h: row(n, g, h, each))

        def per_group(n: Any, g: Any) -> Any:
            def blocks(body: Callable[[Block], Any]) -> Any:
                return self._each_block(g, base, body)

            if self.order == "blocks":
                return blocks(lambda block: rows(n, g, lambda body: body(block)))
            return rows(n, g, blocks)

        def per_image(n: Any) -> Any:
            return loop("g", 0, shape.groups, lambda g: per_group(n, g))

        body = loop("n", 0, shape.batch, per_image)
        return body if self._copies_nothing else seq([tirx.AllocBuffer(buffer), body])

    def _tiles(
        self,
        n: Any,
        g: Any,
        h: Any,
        part: Columns,
        x: Any,
        packed: Any,
        store: Store,
        each: EachBlock,
        patch: Patch,
    ) -> Any:
        begin, end = kernel_rows(self.shape, h)

        def tile(t: Any) -> Any:
            first = t * index(part.pixels) + index(part.begin)

            def write(pixel: int, channel: Any, value: Any) -> Any:
                return store(n, h, first + index(pixel), g * index(self.group_out) + channel, value)

            def read_patch(pixel: int, i: Any, k: Any, count: int) -> Any:
                where = index(pixel * self.depth) + i * index(self.run) + k
                return tirx.BufferLoad(patch.buffer, [ramp(where, count)])

            def read_x(pixel: int, i: Any, k: Any, count: int) -> Any:
                shape = self.shape
                row = h * index(shape.stride[0]) + i * index(shape.dilation[0])
                column = (first + index(pixel)) * index(shape.stride[1])
                channel = ramp(g * index(self.group_in) + k, count)
                at = [n, row - index(shape.padding[0]), column - index(shape.padding[1]), channel]
                value = tirx.BufferLoad(x, at)
                return converted(value, self.dtype, self.unit.operand, count)

            def blocks(read: Any) -> Any:
                return each(lambda block: self._block(block, part.pixels, read, packed, write))

            direct = blocks(read_x)
            if self.direct and part.inside and isinstance(begin, int) and isinstance(end, int):
                return direct
            fill = patch.fill(n, g, h, first, part.begin, part.pixels, part.inside)
            copied = seq([fill, blocks(read_patch)])
            if not (self.direct and part.inside):
                return copied
            inside = tirx.all(index(0) >= begin, index(self.shape.kernel[0]) <= end)
            return tirx.IfThenElse(inside, direct, copied)

        return loop("wb", 0, part.count, tile)

    def _each_block(self, g: Any, base: int, body: Callable[[Block], Any]) -> Any:
        """``body`` for every block of output channels of group ``g``."""
        blocks = self._blocks()
        whole = [
            b
            for b in blocks
            if b[1] == self.channels and sum(b) <= self.group_out and not b[0] % b[1]
        ]
        begin = index(base) + g * index(self.packed_elements // self.shape.groups)
        size = self._channel_bytes

        def block(first: Any, channels: int, kept: int, before: Any) -> Any:
            return body(Block(first, channels, kept, begin + before * index(size)))

        parts = []
        if whole:
            full = self.channels

            def same(b: Any) -> Any:
                return block(b * index(full), full, full, b * index(full))

            parts.append(loop("ob", 0, len(whole), same))
        before = len(whole) * self.channels
        for first, channels in blocks[len(whole) :]:
            kept = min(channels, self.group_out - first)
            parts.append(block(index(first), channels, kept, index(before)))
            before += channels
        return seq(parts)

    def _block(self, block: Block, pixels: int, read: Any, packed: Any, write: Any) -> Any:
        """One block of output channels of one tile."""
        channels = block.channels

        def w_at(element: Any, count: int) -> Any:
            dtype = self.unit.weight
            size = DTYPE_BYTES[dtype]
            where = block.packed_offset + index(self._start_bytes * channels)
            value = tirx.BufferLoad(packed, [ramp(where + element * index(size), count * size)])
            return value if size == 1 else tirx.reinterpret(f"{dtype}x{count}", value)

        def start(channel: int, count: int) -> Any:
            where = block.packed_offset + index(4 * channel)
            value = tirx.BufferLoad(packed, [ramp(where, 4 * count)])
            return tirx.reinterpret(f"int32x{count}", value)

        operands = Operands(self.rows, self.run, read, w_at, start if self.zero else None)
        statements, acc = self.unit.emit(pixels, channels, operands)

        def results(pixel: int, channel: int, lanes: int) -> Any:
            def element(lane: Any) -> Any:
                value = tirx.BufferLoad(acc, [lane + index(pixel * channels + channel)])
                return write(pixel, block.first + index(channel) + lane, value)

            return loop("lane", 0, lanes, element, tirx.ForKind.VECTORIZED)

        stores = [
            results(pixel, channel, lanes)
            for pixel in range(pixels)
            for channel, lanes in covering(block.kept, STORED, self.twice)
        ]
        return seq([*statements, *stores])


def tile_columns(shape: ConvShape, pixels: int) -> list[Columns]:
    """Tiles of a row: those that read padding are single, the others between them are a loop."""

    def inside(begin: int, count: int) -> bool:
        left = begin * shape.stride[1] - shape.padding[1]
        last = (begin + count - 1) * shape.stride[1] - shape.padding[1]
        return left >= 0 and last + (shape.kernel[1] - 1) * shape.dilation[1] < shape.in_width

    found: list[Columns] = []
    for begin in range(0, shape.out_width, pixels):
        count = min(pixels, shape.out_width - begin)
        last = found[-1] if found else None
        if last and last.inside and last.pixels == count and inside(begin, count):
            found[-1] = Columns(last.begin, count, last.count + 1, True)
        else:
            found.append(Columns(begin, count, 1, inside(begin, count)))
    return found
