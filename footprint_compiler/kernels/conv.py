"""Convolution NHWC (any stride, dilation, padding, groups): direct, register-tiled.

out[n, h, w, o] = sum_{i,j,c} x[n, h*sh + i*dh - pt, w*sw + j*dw - pl, g*C + c] * W[o, c, i, j]

Nothing is padded: rows outside are skipped by the bounds of the loop over i, and the columns
at the left and right border are tiles of their own in which only the valid taps are written out.
Weights are packed at build time in the order in which the tile reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from tvm import tirx

from footprint_compiler.kernels.decisions import choose
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.kernels.tile import Reduction, Tile, choose_tile
from footprint_compiler.kernels.tir import cast, index, loop, ramp, seq


@dataclass(frozen=True)
class ConvShape:
    """Static sizes of a convolution; ``padding`` is (top, left, bottom, right)."""

    batch: int
    in_height: int
    in_width: int
    in_channels: int
    out_height: int
    out_width: int
    out_channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates, padding counted as in the dense formula."""
        per_output = self.kernel[0] * self.kernel[1] * self.in_channels // self.groups
        return self.batch * self.out_height * self.out_width * self.out_channels * per_output

    def flattened(self) -> ConvShape:
        """A pointwise convolution over one long row, where that is the same thing."""
        pointwise = self.kernel == (1, 1) and self.stride == (1, 1) and not any(self.padding)
        if not pointwise or self.groups != 1:
            return self
        pixels = self.batch * self.out_height * self.out_width
        return ConvShape(1, 1, pixels, self.in_channels, 1, pixels, self.out_channels, (1, 1))


Store = Callable[[Any, Any, Any, Any, Any], Any]
"""(n, h, w, channel, value) -> statement that writes one output element."""


@dataclass(frozen=True)
class ChannelBlock:
    """Output channels of one group that a tile computes: ``begin`` (static or symbolic)."""

    begin: Any
    lanes: tuple[int, ...]
    packed_offset: Any


class ConvEmitter:
    """Emits the loop nest of one convolution, or of its output row ``row`` where that is given."""

    advantage = 1.0
    """Cost of direct convolution relative to this."""

    def __init__(
        self,
        shape: ConvShape,
        machine: Machine,
        dtype: str,
        acc_dtype: str,
        zero_point: int = 0,
        row: Any = None,
    ) -> None:
        self.shape = shape
        self.row = row
        self.zero_point = zero_point
        self.dtype = dtype
        self.acc_dtype = acc_dtype
        machine, self.operand = machine.for_products(dtype, acc_dtype)
        self.chunk = machine.chunk(acc_dtype) if dtype == acc_dtype else 1
        self.width = machine.lanes(acc_dtype)
        self.group_out = shape.out_channels // shape.groups
        self.group_in = shape.in_channels // shape.groups
        self.width = min(self.width, _power_of_two(self.group_out))
        self.pixels, self.vectors = choose_tile(machine, acc_dtype, shape.out_width, self.group_out)
        self.taps = shape.kernel[0] * shape.kernel[1] * self.group_in
        self.order = choose("order", "blocks", self._orders())

    @property
    def packed_elements(self) -> int:
        """Elements of the packed weights, padding lanes included."""
        total_vectors = -(-self.group_out // self.width)
        return self.shape.groups * total_vectors * self.width * self.taps

    def pack(self, weights: np.ndarray) -> np.ndarray:
        """OIHW (O, C/groups, KH, KW) -> blocks of channels, each [KH, KW, C, lane]."""
        blocks = []
        for group in np.split(weights, self.shape.groups):
            for first, vectors in self._blocks():
                span = vectors * self.width
                block = group[first : first + span]
                missing = span - block.shape[0]
                block = np.pad(block, ((0, missing), (0, 0), (0, 0), (0, 0)))
                blocks.append(block.transpose(2, 3, 1, 0).ravel())
        return np.ascontiguousarray(np.concatenate(blocks))

    def _orders(self) -> tuple[str, ...]:
        """Valid values of ``order``, the outermost loop; one where all would be the same nest."""
        one_block = len(self._blocks()) == 1
        one_row = self.shape.out_height == 1
        rows = () if one_block or one_row else ("rows",)
        return ("blocks", *rows, *(() if one_block else ("tiles",)))

    def _blocks(self) -> list[tuple[int, int]]:
        """(first channel in the group, vectors) of each block of a group."""
        total = -(-self.group_out // self.width)
        return [
            (first * self.width, min(self.vectors, total - first))
            for first in range(0, total, self.vectors)
        ]

    def emit(self, x: Any, packed: Any, store: Store, base: int = 0) -> Any:
        """The whole convolution.

        Args:
            x: input buffer of shape (N, H, W, C), or any shape with the same elements in order
                for a flattened pointwise convolution (then (1, 1, pixels, C)).
            packed: one-dimensional buffer of packed weights.
            store: writes one output element.
            base: element of ``packed`` at which the weights start.
        """
        shape = self.shape

        def per_image(n: Any) -> Any:
            return loop("g", 0, shape.groups, lambda g: self._group(n, g, x, packed, store, base))

        return loop("n", 0, shape.batch, per_image)

    def _group(self, n: Any, g: Any, x: Any, packed: Any, store: Store, base: int) -> Any:
        """Blocks of channels, rows and tiles of one group, nested as ``self.order`` says."""

        def tile(block: ChannelBlock, h: Any, segment: Segment, first: Any) -> Any:
            return self._tile(n, g, h, first, block, segment, x, packed, store)

        def blocks(body: Callable[[ChannelBlock], Any]) -> Any:
            return self._each_block(g, base, body)

        def rows(body: Callable[[Any], Any]) -> Any:
            return loop("h", 0, self.shape.out_height, body) if self.row is None else body(self.row)

        if self.order == "rows":
            return rows(lambda h: blocks(lambda b: self._each_tile(partial(tile, b, h))))
        if self.order == "tiles":
            return rows(
                lambda h: self._each_tile(lambda s, at: blocks(lambda b: tile(b, h, s, at)))
            )
        return blocks(lambda b: rows(lambda h: self._each_tile(partial(tile, b, h))))

    def _each_block(self, g: Any, base: int, body: Callable[[ChannelBlock], Any]) -> Any:
        blocks = self._blocks()
        group_base = index(base) + g * index(self.packed_elements // self.shape.groups)
        full = [
            b for b in blocks if b[1] == self.vectors and b[0] + b[1] * self.width <= self.group_out
        ]
        rest = [b for b in blocks if b not in full]
        span = self.vectors * self.width
        statements = []

        def full_block(b: Any) -> Any:
            block = ChannelBlock(
                g * index(self.group_out) + b * index(span),
                (self.width,) * self.vectors,
                group_base + b * index(span * self.taps),
            )
            return body(block)

        if full:
            statements.append(loop("ob", 0, len(full), full_block))
        for first, vectors in rest:
            left = self.group_out - first
            lanes = tuple(min(self.width, left - v * self.width) for v in range(vectors))
            block = ChannelBlock(
                g * index(self.group_out) + index(first),
                lanes,
                group_base + index(first * self.taps),
            )
            statements.append(body(block))
        return seq(statements)

    def _each_tile(self, body: Callable[[Segment, Any], Any]) -> Any:
        def tiles(segment: Segment) -> Any:
            def at(t: Any) -> Any:
                return body(segment, t * index(segment.pixels) + index(segment.begin))

            return loop("wb", 0, segment.count, at)

        return seq([tiles(segment) for segment in column_segments(self.shape, self.pixels)])

    def _tile(
        self,
        n: Any,
        g: Any,
        h: Any,
        first: Any,
        block: ChannelBlock,
        segment: Segment,
        x: Any,
        packed: Any,
        store: Store,
    ) -> Any:
        shape = self.shape
        kernel_width = shape.kernel[1]
        channels = self.group_in
        padded = len(block.lanes) * self.width
        channel_base = g * index(channels)

        def reduce(steps: Callable[[Sequence[Reduction]], Any]) -> Any:
            def kernel_row(i: Any) -> Any:
                in_row = (
                    h * index(shape.stride[0])
                    + i * index(shape.dilation[0])
                    - index(shape.padding[0])
                )
                row_weights = block.packed_offset + i * index(kernel_width * channels * padded)
                reductions = []
                for taps, j, pixels in segment.taps(shape):

                    def x_at(pixel: int, k: Any, j: int = j) -> Any:
                        column = first * index(shape.stride[1]) + index(
                            pixel * shape.stride[1] + j * shape.dilation[1] - shape.padding[1]
                        )
                        value = tirx.BufferLoad(x, [n, in_row, column, channel_base + k])
                        value = cast(value, self.dtype, self.operand)
                        zero = tirx.const(self.zero_point, self.operand)
                        return value - zero if self.zero_point else value

                    def xs_at(pixel: int, k: Any, count: int, j: int = j) -> Any:
                        column = first * index(shape.stride[1]) + index(
                            pixel * shape.stride[1] + j * shape.dilation[1] - shape.padding[1]
                        )
                        where = ramp(channel_base + k, count)
                        return tirx.BufferLoad(x, [n, in_row, column, where])

                    def w_at(vector: int, lanes: int, k: Any, j: int = j) -> Any:
                        where = row_weights + (k + index(j * channels)) * index(padded)
                        value = tirx.BufferLoad(
                            packed, [ramp(where + index(vector * self.width), lanes)]
                        )
                        return cast(value, self.dtype, self.operand, lanes)

                    several = xs_at if self.chunk > 1 else None
                    reductions.append(Reduction(0, taps * channels, pixels, x_at, w_at, several))
                return steps(reductions)

            begin, end = kernel_rows(shape, h)
            return loop("i", begin, end, kernel_row)

        return Tile(segment.pixels, block.lanes, self.acc_dtype, self.operand, self.chunk).emit(
            reduce,
            lambda pixel, offset, value: store(
                n, h, first + index(pixel), block.begin + offset, value
            ),
        )


def kernel_rows(shape: ConvShape, h: Any) -> tuple[Any, Any]:
    """[begin, end) of the kernel rows that lie inside the image for output row ``h``."""
    kernel_height = shape.kernel[0]
    stride, dilation, top = shape.stride[0], shape.dilation[0], shape.padding[0]
    last = (shape.out_height - 1) * stride + (kernel_height - 1) * dilation - top
    begin: Any = 0
    end: Any = kernel_height
    if top > 0:
        above = index(top + dilation - 1) - h * index(stride)
        begin = tirx.max(index(0), above // index(dilation) if dilation > 1 else above)
    if last >= shape.in_height:
        below = index(shape.in_height + top + dilation - 1) - h * index(stride)
        end = tirx.min(index(kernel_height), below // index(dilation) if dilation > 1 else below)
        if last - (kernel_height - 1) * dilation >= shape.in_height:
            end = tirx.max(end, index(0) if isinstance(begin, int) else begin)
    if top > 0 and top > (kernel_height - 1) * dilation:
        limit = end if not isinstance(end, int) else index(end)
        begin = tirx.min(begin, limit)
    return begin, end


def whole_rows(shape: ConvShape) -> tuple[int, int]:
    """[first, end) of the output rows whose kernel rows all lie inside the image."""
    stride, top = shape.stride[0], shape.padding[0]
    reach = (shape.kernel[0] - 1) * shape.dilation[0]
    end = (shape.in_height - 1 - reach + top) // stride + 1
    return -(-top // stride), max(0, min(end, shape.out_height))


@dataclass(frozen=True)
class Segment:
    """``count`` tiles of ``pixels`` output columns from column ``begin``.

    ``interior`` tiles have every tap inside the image; others are single and static.
    """

    begin: int
    pixels: int
    count: int
    interior: bool

    def taps(self, shape: ConvShape) -> list[tuple[int, int, tuple[int, ...]]]:
        """(number of adjacent taps, first tap, pixels) of each reduction over a kernel row."""
        every = tuple(range(self.pixels))
        kernel_width = shape.kernel[1]
        if self.interior:
            if shape.dilation[1] == 1 and shape.groups == 1:
                return [(kernel_width, 0, every)]
            return [(1, j, every) for j in range(kernel_width)]
        found = []
        for j in range(kernel_width):
            column = j * shape.dilation[1] - shape.padding[1]
            inside = tuple(
                p
                for p in every
                if 0 <= (self.begin + p) * shape.stride[1] + column < shape.in_width
            )
            if inside:
                found.append((1, j, inside))
        return found


def inner_columns(shape: ConvShape) -> tuple[int, int]:
    """[first, end) of the output columns whose taps all lie inside the image; end may be less."""
    stride, left = shape.stride[1], shape.padding[1]
    reach = (shape.kernel[1] - 1) * shape.dilation[1]
    end = (shape.in_width - 1 - reach + left) // stride + 1
    return min(-(-left // stride), shape.out_width), max(0, min(end, shape.out_width))


def column_segments(shape: ConvShape, pixels: int) -> list[Segment]:
    """Cut the output columns into a left border, an interior loop and a right border."""
    first_inside, end_inside = inner_columns(shape)
    segments = []
    column = 0
    while column < first_inside:
        size = min(pixels, shape.out_width - column)
        segments.append(Segment(column, size, 1, False))
        column += size
    count = max(0, end_inside - column) // pixels
    if count:
        segments.append(Segment(column, pixels, count, True))
        column += count * pixels
    while column < shape.out_width:
        size = min(pixels, shape.out_width - column)
        segments.append(Segment(column, size, 1, column + size <= end_inside))
        column += size
    return segments


def _power_of_two(value: int) -> int:
    return 1 << max(0, (value - 1).bit_length())
