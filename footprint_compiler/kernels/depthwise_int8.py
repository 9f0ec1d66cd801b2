"""Depthwise convolution of 8-bit integers, for a block of channels and a tile of output columns.

out[n, h, w, c] = start[c] + sum_{i,j} x[n, h*sh + i*dh - pt, w*sw + j*dw - pl, c] * W[c, 0, i, j]

where start[c] = -z * sum_{i,j} W[c, 0, i, j], and x is z outside of the image. Two taps are always
taken together: their products are added in int16 (``smull``; where no weight is -128, so that the
sum fits) or by PMADDWD on the interleaved taps (``madd``), and then added to int32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from tvm import tirx

from footprint_compiler.kernels.conv import ConvShape, Store, kernel_rows
from footprint_compiler.kernels.conv_int8 import Columns, tile_columns
from footprint_compiler.kernels.decisions import choose
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.kernels.patch import converted, converted_zero_point, pieces
from footprint_compiler.kernels.tap_pairs import (
    LANES,
    InterleavedTaps,
    NarrowTaps,
    PlainTaps,
    Taps,
    TapTile,
)
from footprint_compiler.kernels.tir import index, local, loop, ramp, seq, splat

MOST_TAPS = 25
"""Kernels with more taps are left to ``WindowEmitter``."""


class DepthwiseEmitter:
    """Emits one depthwise convolution; the same interface as ``WindowEmitter``.

    Args:
        shape: ``groups == in_channels == out_channels``.
        machine: vector unit with a dot-product instruction.
        dtype: int8 or uint8, of the input.
        zero_point: of the input.
        row: emit this output row alone.
        twice: an output may be computed and stored twice.
    """

    def __init__(
        self,
        shape: ConvShape,
        machine: Machine,
        dtype: str,
        zero_point: int = 0,
        row: Any = None,
        twice: bool = False,
    ) -> None:
        self.shape = shape
        self.twice = twice
        self.machine = machine
        self.dtype = dtype
        self.row = row
        self.interleaved = machine.dot in ("madd", "dpbusd")
        self.operand = dtype if self.interleaved else "int8"
        self.zero = converted_zero_point(zero_point, dtype, self.operand)
        self.width = machine.vector_bits // 16 if self.interleaved else 16
        most = min(shape.out_width, 8)
        fitting = machine.registers * 3 // 8 if self.interleaved else machine.registers // 6
        fitting = min(most, max(1, fitting))
        default = -(-shape.out_width // -(-shape.out_width // fitting))
        self.pixels = choose("pixels", default, range(1, most + 1))
        several = shape.out_channels > self.width and (
            shape.out_height > 1 or len(tile_columns(shape, self.pixels)) > 1
        )
        self.order = choose("order", "tiles", ("tiles", *(("channels",) if several else ())))

    @classmethod
    def suits(cls, shape: ConvShape, machine: Machine, dtype: str, weights: str) -> bool:
        """Whether this emitter is meant for such a convolution."""
        eight = dtype in ("int8", "uint8") and weights == "int8"
        small = shape.kernel[0] * shape.kernel[1] <= MOST_TAPS and shape.out_channels >= LANES
        return bool(machine.dot) and eight and small

    @property
    def taps(self) -> int:
        """Taps of the window."""
        return self.shape.kernel[0] * self.shape.kernel[1]

    @property
    def packed_elements(self) -> int:
        """Bytes of the packed weights, with the values from which the sums start."""
        weights: int = sum(self._unit(width).bytes for _, width in self._blocks())
        return weights + (4 * self.shape.out_channels if self.zero else 0)

    def pack(self, weights: np.ndarray) -> np.ndarray:
        """(C, 1, KH, KW) -> starts of all channels, then blocks of channels."""
        flat = weights.reshape(self.shape.out_channels, self.taps).T
        found = []
        if self.zero:
            start = -self.zero * flat.sum(axis=0, dtype=np.int64)
            found.append(start.astype("<i4").view(np.int8))
        for first, width in self._blocks():
            found.append(self._unit(width).pack(flat[:, first : first + width]))
        return np.ascontiguousarray(np.concatenate(found))

    def _blocks(self) -> list[tuple[int, int]]:
        """(first channel, channels) of each block; the last one may be odd, or overlap others."""
        channels = self.shape.out_channels
        whole = channels // self.width * self.width
        found = pieces(whole, self.width)
        rest = channels - whole
        width = next(w for w in (0, LANES, 2 * LANES, 4 * LANES) if w >= rest)
        if self.twice and width <= channels:
            return [*found, *([(channels - width, width)] if width else [])]
        even = rest // LANES * LANES
        found += [(whole + first, width) for first, width in pieces(even, self.width)]
        return [*found, *([(whole + even, rest - even)] if even < rest else [])]

    def _unit(self, width: int) -> Taps:
        kernel, machine = self.shape.kernel, self.machine
        if width % LANES:
            return PlainTaps(width, kernel)
        if self.interleaved:
            return InterleavedTaps(width, kernel, min(width, machine.lanes("int32")))
        return NarrowTaps(width, kernel, machine.dot == "vmull", not machine.full_range)

    def emit(self, x: Any, packed: Any, finish: Store) -> Any:
        """The whole operator; ``finish`` stores one element (n, h, w, channel, value)."""
        shape = self.shape

        def rows(body: Any) -> Any:
            return loop("h", 0, shape.out_height, body) if self.row is None else body(self.row)

        blocks = self._blocks()
        begin = 4 * shape.out_channels if self.zero else 0

        def channels(body: Callable[[Any, int, Any], Any]) -> Any:
            """``body(first channel, width, byte)`` for every block."""
            statements = []
            offset = begin
            for width, apart in dict.fromkeys((w, first % w > 0) for first, w in blocks):
                same = [first for first, w in blocks if (w, first % w > 0) == (width, apart)]
                size = self._unit(width).bytes

                def one(b: Any, width: int, lowest: int, size: int, at: int) -> Any:
                    first = b * index(width) + index(lowest)
                    return body(first, width, b * index(size) + index(at))

                each = partial(one, width=width, lowest=same[0], size=size, at=offset)
                statements.append(loop("cb", 0, len(same), each))
                offset += len(same) * size
            return seq(statements)

        def tile(n: Any, h: Any, each: Any, part: Columns, t: Any) -> Any:
            column = t * index(part.pixels) + index(part.begin)
            return each(
                lambda first, width, offset: self._rows_of(
                    n, h, first, width, offset, column, part, x, packed, finish
                )
            )

        def row(n: Any, h: Any, each: Any) -> Any:
            parts = tile_columns(shape, self.pixels)
            return seq(
                [loop("wb", 0, part.count, partial(tile, n, h, each, part)) for part in parts]
            )

        def image(n: Any) -> Any:
            if self.order == "channels":
                return channels(lambda *block: rows(lambda h: row(n, h, lambda body: body(*block))))
            return rows(lambda h: row(n, h, channels))

        return loop("n", 0, shape.batch, image)

    def _rows_of(
        self,
        n: Any,
        h: Any,
        first: Any,
        width: int,
        offset: Any,
        column: Any,
        part: Columns,
        x: Any,
        packed: Any,
        finish: Store,
    ) -> Any:
        """One tile, where kernel rows are outside of the image with zero points in their place."""
        begin, end = kernel_rows(self.shape, h)

        def with_rows(inside: bool) -> Any:
            return self._tile(n, h, first, width, offset, column, part, inside, x, packed, finish)

        if isinstance(begin, int) and isinstance(end, int):
            return with_rows(True)
        whole = tirx.all(index(0) >= begin, index(self.shape.kernel[0]) <= end)
        return tirx.IfThenElse(whole, with_rows(True), with_rows(False))

    def _tile(
        self,
        n: Any,
        h: Any,
        first: Any,
        width: int,
        offset: Any,
        column: Any,
        part: Columns,
        rows_inside: bool,
        x: Any,
        packed: Any,
        finish: Store,
    ) -> Any:
        shape = self.shape
        unit = self._unit(width)
        acc = local("acc", part.pixels * width, "int32")
        padding = tirx.const(self.zero, self.operand)

        def value(pixel: int, tap: int, lane: int, count: int) -> Any:
            i, j = divmod(tap, shape.kernel[1])
            away = (part.begin + pixel) * shape.stride[1] + j * shape.dilation[1]
            if not part.inside and not 0 <= away - shape.padding[1] < shape.in_width:
                return splat(padding, count)
            row = h * index(shape.stride[0]) + index(i * shape.dilation[0] - shape.padding[0])
            at = (column + index(pixel)) * index(shape.stride[1])
            at = at + index(j * shape.dilation[1] - shape.padding[1])
            if rows_inside:
                loaded = tirx.BufferLoad(x, [n, row, at, ramp(first + index(lane), count)])
                return converted(loaded, self.dtype, self.operand, count)
            last = index(shape.in_height - 1)
            nearest = tirx.max(index(0), tirx.min(row, last))
            loaded = tirx.BufferLoad(x, [n, nearest, at, ramp(first + index(lane), count)])
            loaded = converted(loaded, self.dtype, self.operand, count)
            return tirx.Select(splat(row == nearest, count), loaded, splat(padding, count))

        def start(lane: int, lanes: int) -> Any:
            if not self.zero:
                return splat(tirx.const(0, "int32"), lanes)
            where = ramp((first + index(lane)) * index(4), 4 * lanes)
            dtype = "int32" if lanes == 1 else f"int32x{lanes}"
            return tirx.reinterpret(dtype, tirx.BufferLoad(packed, [where]))

        def weights(byte: int, count: int) -> Any:
            return tirx.BufferLoad(packed, [ramp(offset + index(byte), count)])

        body = unit.emit(acc, TapTile(part.pixels, self.operand, value, weights, start))

        def results(pixel: int, lane: int, lanes: int) -> Any:
            def element(at: Any) -> Any:
                loaded = tirx.BufferLoad(acc, [at + index(pixel * width + lane)])
                return finish(n, h, column + index(pixel), first + index(lane) + at, loaded)

            return loop("lane", 0, lanes, element, tirx.ForKind.VECTORIZED)

        stores = [
            results(pixel, lane, lanes)
            for pixel in range(part.pixels)
            for lane, lanes in pieces(width, 16)
        ]
        return seq([tirx.AllocBuffer(acc), *body, *stores])
