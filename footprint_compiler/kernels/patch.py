"""Copy what a tile of output pixels reads into rows that lie one after the other.

patch[p, (i * KW + j) * C + c] = x[n, h*sh + i*dh - pt, (first + p)*sw + j*dw - pl, g*C + c]

Outside of the image there is the zero point. A row is filled up with zeros to ``depth`` elements.
Elements are converted to the dtype that the products take: widened to int16, or, between int8 and
uint8, moved by 128, which is the same as inverting the highest bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx

from footprint_compiler.kernels.conv import ConvShape, kernel_rows
from footprint_compiler.kernels.tir import cast, index, loop, ramp, seq, splat

OVERLAPPED = 8
"""Elements of a vector that may compute some elements for a second time."""
UNROLLED = 4
"""Runs of at most this many vectors are copied without a loop."""


def converted(value: Any, dtype: str, operand: str, lanes: int) -> Any:
    """Elements of x as an operand of the products."""
    if dtype == operand or operand == "int16":
        return cast(value, dtype, operand, lanes)
    moved = tirx.bitwise_xor(
        tirx.reinterpret(_vector("uint8", lanes), value),
        splat(tirx.const(0x80, "uint8"), lanes),
    )
    return tirx.reinterpret(_vector(operand, lanes), moved)


def converted_zero_point(zero_point: int, dtype: str, operand: str) -> int:
    """The operand that stands for zero."""
    if dtype == operand or operand == "int16":
        return zero_point
    return zero_point - 128 if operand == "int8" else zero_point + 128


def _vector(dtype: str, lanes: int) -> str:
    return dtype if lanes == 1 else f"{dtype}x{lanes}"


@dataclass(frozen=True)
class Patch:
    """Fills a patch.

    Attributes:
        shape: of the convolution.
        x: input buffer (N, H, W, C).
        dtype, operand: of x and of the patch.
        zero_point: operand that stands for zero.
        buffer: one-dimensional, of at least pixels * depth elements.
        depth: elements of a row.
        lanes: elements of the longest vector.
    """

    shape: ConvShape
    x: Any
    dtype: str
    operand: str
    zero_point: int
    buffer: Any
    depth: int
    lanes: int

    def fill(
        self, n: Any, g: Any, h: Any, first: Any, begin: int, pixels: int, inside: bool
    ) -> Any:
        """Statements for ``pixels`` output columns of row ``h`` from ``first`` on.

        Args:
            begin: the first column where it is static, for tiles that are not ``inside``.
            inside: no column of the tile reads padding.
        """
        shape = self.shape
        terms = shape.kernel[1] * self._channels

        def kernel_row(i: Any) -> Any:
            row = h * index(shape.stride[0]) + i * index(shape.dilation[0])
            row = row - index(shape.padding[0])

            def pixel(p: Any, column: int | None) -> Any:
                to = p * index(self.depth) + i * index(terms)
                start = (first + p) * index(shape.stride[1]) - index(shape.padding[1])
                return seq(self._row(n, g, row, start, to, column))

            if inside:
                copy = loop("p", 0, pixels, lambda p: pixel(p, None))
            else:
                copy = seq([pixel(index(p), begin + p) for p in range(pixels)])
            return self._guarded(h, row, i, copy, pixels, terms)

        filled = loop("i", 0, shape.kernel[0], kernel_row)
        rest = self.depth - shape.kernel[0] * terms
        if not rest:
            return filled

        def clear(p: Any) -> Any:
            return seq(self._fill(p * index(self.depth) + index(self.depth - rest), rest, 0))

        return seq([filled, loop("p", 0, pixels, clear)])

    @property
    def _channels(self) -> int:
        return self.shape.in_channels // self.shape.groups

    def _guarded(self, h: Any, row: Any, i: Any, copy: Any, pixels: int, terms: int) -> Any:
        """``copy`` where the kernel row lies inside the image, zero points elsewhere."""
        begin, end = kernel_rows(self.shape, h)
        if isinstance(begin, int) and isinstance(end, int):
            return copy

        def outside(p: Any) -> Any:
            return seq(self._fill(p * index(self.depth) + i * index(terms), terms))

        within = tirx.all(row >= index(0), row < index(self.shape.in_height))
        return tirx.IfThenElse(within, copy, loop("p", 0, pixels, outside))

    def _row(self, n: Any, g: Any, row: Any, start: Any, to: Any, column: int | None) -> list[Any]:
        """One kernel row of one pixel; ``column`` is static where taps may be outside."""
        shape = self.shape
        channels = self._channels
        taps = range(shape.kernel[1])
        if column is not None:
            at = column * shape.stride[1] - shape.padding[1]
            valid = [j for j in taps if 0 <= at + j * shape.dilation[1] < shape.in_width]
        else:
            valid = list(taps)
        statements = []
        missing = [j for j in taps if j not in valid]
        for j, count in _neighbours(missing):
            statements += self._fill(to + index(j * channels), count * channels)
        joined = shape.dilation[1] == 1 and shape.groups == 1
        for j, count in _neighbours(valid) if joined else [(j, 1) for j in valid]:
            source = start + index(j * shape.dilation[1])
            statements += self._copy(
                [n, row, source], g * index(channels), to + index(j * channels), count * channels
            )
        return statements

    def _copy(self, at: list[Any], channel: Any, to: Any, count: int) -> list[Any]:
        def piece(k: Any, lanes: int) -> Any:
            value = tirx.BufferLoad(self.x, [*at, ramp(channel + k, lanes)])
            value = converted(value, self.dtype, self.operand, lanes)
            return tirx.BufferStore(self.buffer, value, [ramp(to + k, lanes)])

        return self._pieces(count, piece)

    def _fill(self, to: Any, count: int, value: int | None = None) -> list[Any]:
        zero = tirx.const(self.zero_point if value is None else value, self.operand)

        def piece(k: Any, lanes: int) -> Any:
            return tirx.BufferStore(self.buffer, splat(zero, lanes), [ramp(to + k, lanes)])

        return self._pieces(count, piece)

    def _pieces(self, count: int, piece: Any) -> list[Any]:
        """``piece(first, lanes)`` over ``count`` elements."""
        lanes, full = self.lanes, count // self.lanes
        if full <= UNROLLED:
            return [piece(index(first), width) for first, width in pieces(count, lanes)]
        done = full * lanes
        rest = [piece(index(done + first), width) for first, width in pieces(count - done, lanes)]
        return [loop("v", 0, full, lambda v: piece(v * index(lanes), lanes)), *rest]


def pieces(count: int, lanes: int) -> list[tuple[int, int]]:
    """(first, width) of the vectors over ``count`` elements: ``lanes`` wide, then halves of it."""
    found = []
    done = 0
    while done < count:
        while lanes > count - done:
            lanes //= 2
        found.append((done, lanes))
        done += lanes
    return found


def covering(count: int, lanes: int, twice: bool) -> list[tuple[int, int]]:
    """``pieces`` that may overlap: where ``twice`` says that elements may be computed again, a last
    vector of 8 ends with the last element instead of being cut into short ones."""
    found = pieces(count, lanes)
    if not twice or count < OVERLAPPED or not count % OVERLAPPED:
        return found
    whole = [piece for piece in found if piece[1] >= OVERLAPPED]
    return [*whole, (count - OVERLAPPED, OVERLAPPED)]


def _neighbours(taps: list[int]) -> list[tuple[int, int]]:
    """(first, count) of each run of consecutive taps."""
    runs: list[tuple[int, int]] = []
    for j in taps:
        if runs and sum(runs[-1]) == j:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((j, 1))
    return runs
