"""3 x 3 convolution with stride 1 in float32 by Winograd's F(m x m, 3 x 3).

The image is cut into tiles of m x m outputs. For a block of tiles: transform (m + 2) x (m + 2)
inputs of every channel; for each of the (m + 2)^2 positions multiply by a matrix of weights
(tiles x C times C x O); transform back, finish and store. Weights are (m + 2)^2 / 9 times as large.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import tirx

from footprint_compiler.kernels.conv import ConvShape, Store
from footprint_compiler.kernels.dot import parts
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.kernels.patch import pieces
from footprint_compiler.kernels.tile import Reduction, Tile, choose_tile
from footprint_compiler.kernels.tir import index, local, loop, ramp, seq, splat
from footprint_compiler.kernels.winograd import (
    Lines,
    input_transform,
    most_lines,
    nested,
    output_transform,
    transformed_weights,
)


@dataclass(frozen=True)
class Block:
    """``rows`` x ``columns`` tiles; ``first`` ones, symbolic."""

    row: Any
    column: Any
    rows: int
    columns: int

    @property
    def count(self) -> int:
        """Tiles."""
        return self.rows * self.columns


class WinogradEmitter:
    """Emits one convolution; the same interface as ``ConvEmitter``.

    Args:
        shape: 3 x 3, stride 1, no dilation, one group.
        machine: vector unit.
        size: m.
        advantage: estimated cost of direct convolution relative to this.
    """

    operand, accumulator = "float32", "float32"
    """Dtypes of transformed inputs and of their products."""

    def __init__(
        self, shape: ConvShape, machine: Machine, size: int, advantage: float = 1.0
    ) -> None:
        self.advantage = advantage
        self.shape = shape
        self.size = size
        self.span = size + 2
        self.width = machine.lanes("float32")
        self.chunk = machine.chunk("float32")
        self.tiles = (-(-shape.out_height // size), -(-shape.out_width // size))
        tiles = self.tiles[0] * self.tiles[1]
        self.pixels, self.vectors = self._choose(machine, tiles)

    def _choose(self, machine: Machine, tiles: int) -> tuple[int, int]:
        """(tiles, vectors of output channels) that are multiplied at once."""
        return choose_tile(machine, "float32", tiles, self.shape.out_channels)

    @property
    def packed_elements(self) -> int:
        """Elements of the transformed weights, padding lanes included."""
        return self.span**2 * self.shape.in_channels * self._padded

    @property
    def _padded(self) -> int:
        return -(-self.shape.out_channels // self.width) * self.width

    def pack(self, weights: np.ndarray) -> np.ndarray:
        """OIHW -> for every position, blocks of output channels, each [C, lane]."""
        wide = transformed_weights(weights, self.size)
        wide = np.pad(wide, ((0, 0),) * 3 + ((0, self._padded - self.shape.out_channels),))
        flat = wide.reshape(self.span**2, self.shape.in_channels, self._padded)
        blocks = [
            [position[:, first : first + lanes].ravel() for first, lanes in self._blocks()]
            for position in flat
        ]
        return np.concatenate([block for position in blocks for block in position])

    def _blocks(self) -> list[tuple[int, int]]:
        """(first output channel, lanes with padding) of each register tile."""
        most = self.vectors * self.width
        return [(first, min(most, self._padded - first)) for first in range(0, self._padded, most)]

    def emit(self, x: Any, packed: Any, store: Store, base: int = 0) -> Any:
        """The whole convolution; see ``ConvEmitter.emit``."""
        shape, span = self.shape, self.span
        columns = min(self.tiles[1], self.pixels)
        rows = min(self.tiles[0], max(1, self.pixels // columns))
        most = rows * columns
        inputs = _buffer("inputs", span**2 * most * shape.in_channels, self.operand)
        sums = _buffer("sums", span**2 * most * shape.out_channels, self.accumulator)
        patch = _buffer("patch", span**2 * shape.in_channels, self.operand)

        def block(n: Any, at: Block) -> Any:
            return seq(
                [
                    self._each_tile(
                        at, lambda p, r, c: self._transform(n, at, p, r, c, x, inputs, patch)
                    ),
                    self._multiply(at, inputs, packed, sums, base),
                    self._each_tile(at, lambda p, r, c: self._finish(n, at, p, r, c, sums, store)),
                ]
            )

        def blocks(n: Any, row: int, column: int, height: int, width: int, across: int) -> Any:
            """(row of blocks) -> its blocks of ``height`` x ``width`` tiles."""

            def one(i: Any, j: Any) -> Any:
                at_row = i * index(height) + index(row)
                return block(n, Block(at_row, j * index(width) + index(column), height, width))

            return lambda i: loop("tc", 0, across, lambda j: one(i, j))

        def image(n: Any) -> Any:
            statements = []
            row = 0
            for height, down in parts(self.tiles[0], rows):
                column = 0
                for width, across in parts(self.tiles[1], columns):
                    body = blocks(n, row, column, height, width, across)
                    statements.append(loop("tr", 0, down, body))
                    column += width * across
                row += height * down
            return seq(statements)

        body = loop("n", 0, shape.batch, image)
        buffers = [inputs, sums, *([patch] if any(shape.padding) or self._ragged else [])]
        return seq([*(tirx.AllocBuffer(buffer) for buffer in buffers), body])

    @property
    def _ragged(self) -> bool:
        """Whether a tile reads beyond the right or the lower border."""
        shape, size = self.shape, self.size
        return bool(shape.out_height % size or shape.out_width % size)

    @staticmethod
    def _each_tile(at: Block, body: Callable[[Any, Any, Any], Any]) -> Any:
        def tile(i: Any, j: Any) -> Any:
            return body(i * index(at.columns) + j, at.row + i, at.column + j)

        return loop("ti", 0, at.rows, lambda i: loop("tj", 0, at.columns, lambda j: tile(i, j)))

    def _entering(self, value: Any, lanes: int) -> Any:
        """Elements of x as the transform takes them."""
        return value

    def _leaving(self, value: Any, lanes: int) -> Any:
        """Sums as the transform gives them, as those of the convolution."""
        return value

    def _channels(self, channels: int, body: Callable[[Any, int], Any]) -> Any:
        """``body(first, lanes)`` for vectors of channels, the rest in narrower ones."""
        full = channels // self.width
        statements = []
        if full:
            statements.append(
                loop("cv", 0, full, lambda v: body(v * index(self.width), self.width))
            )
        done = full * self.width
        for first, lanes in pieces(channels - done, self.width):
            statements.append(body(index(done + first), lanes))
        return seq(statements)

    def _transform(
        self, n: Any, at: Block, p: Any, row: Any, column: Any, x: Any, inputs: Any, patch: Any
    ) -> Any:
        """Transformed inputs of tile ``p`` of the block."""
        shape, span = self.shape, self.span
        top = row * index(self.size) - index(shape.padding[0])
        left = column * index(self.size) - index(shape.padding[1])

        def from_image(i: int, j: int, channel: Any, lanes: int) -> Any:
            where = [n, top + index(i), left + index(j), ramp(channel, lanes)]
            return self._entering(tirx.BufferLoad(x, where), lanes)

        def from_patch(i: int, j: int, channel: Any, lanes: int) -> Any:
            place = index((i * span + j) * shape.in_channels) + channel
            return tirx.BufferLoad(patch, [ramp(place, lanes)])

        def vector(load: Any) -> Callable[[Any, int], Any]:
            def body(channel: Any, lanes: int) -> Any:
                lines = Lines("v", most_lines(self.size), lanes, self.operand)
                transform = input_transform(self.size)
                values = nested(transform, lines, lambda i, j: load(i, j, channel, lanes), span)
                stores = []
                for position, value in enumerate(v for line in values for v in line):
                    place = (index(position * at.count) + p) * index(shape.in_channels) + channel
                    stores.append(tirx.BufferStore(inputs, value, [ramp(place, lanes)]))
                return seq([tirx.AllocBuffer(lines.buffer), *lines.statements, *stores])

            return body

        direct = self._channels(shape.in_channels, vector(from_image))
        if not any(shape.padding) and not self._ragged:
            return direct
        copied = seq(
            [
                self._fill(n, top, left, x, patch),
                self._channels(shape.in_channels, vector(from_patch)),
            ]
        )
        inside = tirx.all(
            top >= index(0),
            left >= index(0),
            top + index(span) <= index(shape.in_height),
            left + index(span) <= index(shape.in_width),
        )
        return tirx.IfThenElse(inside, direct, copied)

    def _fill(self, n: Any, top: Any, left: Any, x: Any, patch: Any) -> Any:
        """Copy a tile's inputs, with zeros outside of the image."""
        shape, span = self.shape, self.span

        def one(i: Any, j: Any) -> Any:
            row, column = top + i, left + j
            place = (i * index(span) + j) * index(shape.in_channels)

            def copy(channel: Any, lanes: int) -> Any:
                value = tirx.BufferLoad(x, [n, row, column, ramp(channel, lanes)])
                value = self._entering(value, lanes)
                return tirx.BufferStore(patch, value, [ramp(place + channel, lanes)])

            def clear(channel: Any, lanes: int) -> Any:
                value = splat(tirx.const(0, self.operand), lanes)
                return tirx.BufferStore(patch, value, [ramp(place + channel, lanes)])

            inside = tirx.all(
                row >= index(0),
                row < index(shape.in_height),
                column >= index(0),
                column < index(shape.in_width),
            )
            channels = shape.in_channels
            return tirx.IfThenElse(
                inside, self._channels(channels, copy), self._channels(channels, clear)
            )

        return loop("i", 0, span, lambda i: loop("j", 0, span, lambda j: one(i, j)))

    def _multiply(self, at: Block, inputs: Any, packed: Any, sums: Any, base: int) -> Any:
        """For every position: tiles x C times C x O."""
        shape = self.shape
        count, depth, wide = at.count, shape.in_channels, shape.out_channels

        def position(xi: Any) -> Any:
            def tile(first: Any, kept: int, offset: Any, begin: int, pixels: int) -> Any:
                padded = -(-kept // self.width) * self.width
                lanes = tuple(
                    min(self.width, kept - v * self.width) for v in range(padded // self.width)
                )

                def row(pixel: int) -> Any:
                    return (xi * index(count) + index(begin + pixel)) * index(depth)

                def x_at(pixel: int, k: Any) -> Any:
                    return tirx.BufferLoad(inputs, [row(pixel) + k])

                def xs_at(pixel: int, k: Any, steps: int) -> Any:
                    return tirx.BufferLoad(inputs, [ramp(row(pixel) + k, steps)])

                def w_at(vector: int, lane_count: int, k: Any) -> Any:
                    where = offset + k * index(padded) + index(vector * self.width)
                    return tirx.BufferLoad(packed, [ramp(where, lane_count)])

                several = xs_at if self.chunk > 1 else None
                every = tuple(range(pixels))
                reduction = Reduction(0, depth, every, x_at, w_at, several)

                def write(pixel: Any, channel: Any, value: Any) -> Any:
                    place = (xi * index(count) + pixel + index(begin)) * index(wide)
                    return tirx.BufferStore(sums, value, [place + first + channel])

                return Tile(pixels, lanes, "float32", chunk=self.chunk).emit(
                    lambda steps: steps([reduction]), write
                )

            def tiles(first: Any, kept: int, offset: Any) -> Any:
                begins = []
                begin = 0
                for pixels, times in parts(count, self.pixels):
                    for _ in range(times):
                        begins.append((begin, pixels))
                        begin += pixels
                return seq([tile(first, kept, offset, b, pixels) for b, pixels in begins])

            start = index(base) + xi * index(depth * self._padded)
            blocks = self._blocks()
            most = self.vectors * self.width
            whole = [b for b in blocks if b[1] == most and sum(b) <= wide]
            statements = []
            if whole:
                statements.append(
                    loop(
                        "ob",
                        0,
                        len(whole),
                        lambda b: tiles(b * index(most), most, start + b * index(most * depth)),
                    )
                )
            for first, _ in blocks[len(whole) :]:
                kept = min(most, wide - first)
                statements.append(tiles(index(first), kept, start + index(first * depth)))
            return seq(statements)

        return loop("xi", 0, self.span**2, position)

    def _finish(
        self, n: Any, at: Block, p: Any, row: Any, column: Any, sums: Any, store: Store
    ) -> Any:
        """Transform the sums of tile ``p`` back and store them."""
        shape, span, size = self.shape, self.span, self.size

        def body(channel: Any, lanes: int) -> Any:
            lines = Lines("y", most_lines(size), lanes, self.accumulator)

            def load(i: int, j: int) -> Any:
                position = index((i * span + j) * at.count) + p
                place = position * index(shape.out_channels) + channel
                return tirx.BufferLoad(sums, [ramp(place, lanes)])

            values = nested(output_transform(size), lines, load, span)
            acc = local("acc", size**2 * lanes, self.accumulator)
            statements = [
                tirx.BufferStore(acc, self._leaving(value, lanes), [ramp(place * lanes, lanes)])
                for place, value in enumerate(v for line in values for v in line)
            ]
            for i in range(size):
                for j in range(size):
                    statements.append(write(i, j, channel, lanes, acc))
            buffers = [tirx.AllocBuffer(lines.buffer), tirx.AllocBuffer(acc)]
            return seq([*buffers, *lines.statements, *statements])

        def write(i: int, j: int, channel: Any, lanes: int, acc: Any) -> Any:
            h, w = row * index(size) + index(i), column * index(size) + index(j)

            def element(lane: Any) -> Any:
                value = tirx.BufferLoad(acc, [lane + index((i * size + j) * lanes)])
                return store(n, h, w, channel + lane, value)

            written = loop("lane", 0, lanes, element, tirx.ForKind.VECTORIZED)
            limits = []
            if (self.tiles[0] - 1) * size + i >= shape.out_height:
                limits.append(h < index(shape.out_height))
            if (self.tiles[1] - 1) * size + j >= shape.out_width:
                limits.append(w < index(shape.out_width))
            return tirx.IfThenElse(tirx.all(*limits), written, None) if limits else written

        return self._channels(shape.out_channels, body)


def _buffer(name: str, elements: int, dtype: str) -> Any:
    return tirx.decl_buffer((index(elements),), dtype, name=name)
