"""Depthwise convolution and pooling over NHWC: vectors of channels, a tile of output columns.

depthwise: out[n, h, w, c] = sum_{i,j} x[n, h*sh + i*dh - pt, w*sw + j*dw - pl, c] * W[c, 0, i, j]
max pool:  out[n, h, w, c] = max_{i,j} x[...];  average pool: sum_{i,j} x[...] / count(h, w)

Taps outside the image are skipped: rows by the bounds of a loop, columns by border tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from tvm import tirx

from footprint_compiler.kernels.conv import (
    ConvShape,
    Segment,
    Store,
    column_segments,
    kernel_rows,
    whole_rows,
)
from footprint_compiler.kernels.decisions import choose
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.kernels.tile import rolled, store_in_loop
from footprint_compiler.kernels.tir import cast, index, local, loop, ramp, seq, splat
from footprint_compiler.kernels.written_out import written_out

Combine = Callable[[Any, Any, Any], Any]
"""(accumulator, input vector, weight vector or None) -> new accumulator."""


UNROLLED_TAPS = 11
"""Kernel rows of at most this many taps are written out where no border is near."""


MOST_TAPS = 25
"""Windows of at most this many taps may be written out in full."""


@dataclass(frozen=True)
class Row:
    """An output row; ``whole`` when every kernel row lies inside the image."""

    h: Any
    whole: bool = False


class WindowEmitter:
    """Emits a window operator that works on each channel alone.

    With vectors, channels are the inner loop, so that an image is read in order, and rows whose
    taps are all inside are written out apart from those at the borders: measured on x86-64 that is
    1.1 to 1.5 times faster, for more code. Without vectors code is small before it is fast.

    Args:
        shape: ``groups == in_channels == out_channels``.
        machine: vector unit.
        dtype: of the input.
        acc_dtype: of the accumulator.
        initial: value of the accumulator before the first tap.
        combine: how a tap enters the accumulator.
        weighted: whether there is one weight per tap and channel.
        zero_point: subtracted from every input element.
        row: emit this output row alone.
    """

    def __init__(
        self,
        shape: ConvShape,
        machine: Machine,
        dtype: str,
        acc_dtype: str,
        initial: Any,
        combine: Combine,
        weighted: bool,
        zero_point: int = 0,
        row: Any = None,
    ) -> None:
        self.shape = shape
        self.row = row
        self.dtype = dtype
        self.acc_dtype = acc_dtype
        self.zero_point = zero_point
        self.initial = initial
        self.combine = combine
        self.weighted = weighted
        machine, self.operand = machine.for_products(dtype, acc_dtype)
        self.width = machine.lanes(acc_dtype)
        taps_live = shape.kernel[1] if weighted else 0
        room = max(1, machine.registers - taps_live - 3)
        most = min(shape.out_width, 14, room)
        default = min(shape.out_width, 8, max(1, room // 2))
        self.pixels = choose("pixels", default, range(1, most + 1))
        vectors = machine.vector_bits > 0
        several = shape.out_channels > self.width and shape.out_height > 1
        orders = ("channels", *(("rows",) if several else ()))
        self.order = choose("order", orders[-1] if vectors else "channels", orders)
        small = 1 < shape.kernel[0] * shape.kernel[1] <= MOST_TAPS and shape.out_height > 2
        borders = ("inside", *(("apart",) if small else ()))
        self.borders = choose("borders", borders[-1] if vectors else "inside", borders)

    @property
    def packed_elements(self) -> int:
        """Elements of the packed weights."""
        return self.shape.kernel[0] * self.shape.kernel[1] * self.shape.out_channels

    def pack(self, weights: np.ndarray) -> np.ndarray:
        """(C, 1, KH, KW) -> [KH, KW, C]."""
        return np.ascontiguousarray(weights[:, 0].transpose(1, 2, 0)).ravel()

    def emit(self, x: Any, weights: Any, finish: Callable[[Any, Any, Any, Any, Any], Any]) -> Any:
        """The whole operator; ``finish`` stores one element (n, h, w, channel, value)."""
        shape = self.shape
        vectors, rest = divmod(shape.out_channels, self.width)

        def channels(body: Callable[[Any, int], Any]) -> Any:
            statements = []
            if vectors:
                statements.append(
                    loop("cb", 0, vectors, lambda cb: body(cb * index(self.width), self.width))
                )
            if rest:
                statements.append(body(index(vectors * self.width), rest))
            return seq(statements)

        def rows(body: Callable[[Row], Any]) -> Any:
            if self.row is not None:
                return body(Row(self.row))
            return seq(
                [
                    loop("h", begin, end, partial(lambda whole, h: body(Row(h, whole)), whole))
                    for begin, end, whole in self._row_ranges()
                ]
            )

        def row(n: Any, h: Row, channel: Any, lanes: int) -> Any:
            return self._row(n, h, channel, lanes, x, weights, finish)

        def image(n: Any) -> Any:
            if self.order == "rows":
                return rows(lambda h: channels(partial(row, n, h)))
            return channels(lambda channel, lanes: rows(lambda h: row(n, h, channel, lanes)))

        return loop("n", 0, shape.batch, image)

    def _row_ranges(self) -> list[tuple[int, int, bool]]:
        """(begin, end, whether all taps of the rows are inside), in order."""
        height = self.shape.out_height
        first, last = whole_rows(self.shape)
        if self.borders == "inside" or first >= last:
            return [(0, height, False)]
        ranges = [(0, first, False), (first, last, True), (last, height, False)]
        return [part for part in ranges if part[0] < part[1]]

    def _row(
        self, n: Any, h: Row, channel: Any, lanes: int, x: Any, weights: Any, finish: Store
    ) -> Any:
        def part(segment: Segment) -> Any:
            def tile(t: Any) -> Any:
                return self._tile(n, h, channel, lanes, segment, t, x, weights, finish)

            return loop("wb", 0, segment.count, tile)

        return seq([part(segment) for segment in column_segments(self.shape, self.pixels)])

    def _tile(
        self,
        n: Any,
        row: Row,
        channel: Any,
        lanes: int,
        segment: Segment,
        t: Any,
        x: Any,
        weights: Any,
        finish: Store,
    ) -> Any:
        shape, h = self.shape, row.h
        first = t * index(segment.pixels) + index(segment.begin)
        acc = local("acc", segment.pixels * self.width, self.acc_dtype)

        def slot(pixel: int) -> Any:
            return ramp(pixel * self.width, lanes)

        def kernel_row(i: Any) -> Any:
            in_row = (
                h * index(shape.stride[0]) + i * index(shape.dilation[0]) - index(shape.padding[0])
            )

            def tap(j: Any) -> list[Any]:
                step = index(shape.dilation[1])
                offset = (index(j) if isinstance(j, int) else j) * step - index(shape.padding[1])
                weight = None
                if self.weighted:
                    where = (i * index(shape.kernel[1]) + j) * index(shape.out_channels)
                    weight = tirx.BufferLoad(weights, [ramp(where + channel, lanes)])
                    weight = cast(weight, str(weights.dtype), self.operand, lanes)
                    weight = cast(weight, self.operand, self.acc_dtype, lanes)
                updates = []
                for pixel in range(segment.pixels):
                    if not segment.interior and not inside(j, pixel):
                        continue
                    column = (first + index(pixel)) * index(shape.stride[1]) + offset
                    value = tirx.BufferLoad(x, [n, in_row, column, ramp(channel, lanes)])
                    value = cast(value, self.dtype, self.operand, lanes)
                    if self.zero_point:
                        value = value - splat(tirx.const(self.zero_point, self.operand), lanes)
                    value = cast(value, self.operand, self.acc_dtype, lanes)
                    old = tirx.BufferLoad(acc, [slot(pixel)])
                    updates.append(
                        tirx.BufferStore(acc, self.combine(old, value, weight), [slot(pixel)])
                    )
                return updates

            if segment.interior and shape.kernel[1] > UNROLLED_TAPS:
                return loop("j", 0, shape.kernel[1], lambda j: seq(tap(j)))
            return seq([update for j in range(shape.kernel[1]) for update in tap(j)])

        def inside(j: int, pixel: int) -> bool:
            column = (segment.begin + pixel) * shape.stride[1] + j * shape.dilation[1]
            return 0 <= column - shape.padding[1] < shape.in_width

        if row.whole:
            taps = seq([kernel_row(index(i)) for i in range(shape.kernel[0])])
        else:
            begin, end = kernel_rows(shape, h)
            static = isinstance(begin, int) and isinstance(end, int) and end - begin > 1
            taps = (written_out if static else loop)("i", begin, end, kernel_row)
        zero = [
            tirx.BufferStore(acc, splat(self.initial, lanes), [slot(pixel)])
            for pixel in range(segment.pixels)
        ]

        def store(pixel: int) -> Any:
            def element(lane: Any) -> Any:
                value = tirx.BufferLoad(acc, [lane + index(pixel * self.width)])
                return finish(n, h, first + index(pixel), channel + lane, value)

            return loop("lane", 0, lanes, element, tirx.ForKind.VECTORIZED)

        stores: list[Any] = [store(pixel) for pixel in range(segment.pixels)]
        if self.width == 1 and rolled(self.acc_dtype, (lanes,)):
            stores = store_in_loop(
                acc,
                segment.pixels,
                self.acc_dtype,
                lambda at, value: finish(n, h, first + at, channel, value),
            )
        return seq([tirx.AllocBuffer(acc), *zero, taps, *stores])
