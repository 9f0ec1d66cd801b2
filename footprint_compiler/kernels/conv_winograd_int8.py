"""3 x 3 convolution of 8-bit integers by Winograd's F(2 x 2, 3 x 3), exactly.

Inputs less their zero point are transformed in int16: at most 4 * 255. Weights are transformed
with 2 G, which is integral: at most 9 * 128. So every sum is 4 times that of the convolution, and
a shift by two bits gives it back without a remainder.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import tirx

from footprint_compiler.kernels.conv import ConvShape
from footprint_compiler.kernels.conv_winograd import Block, WinogradEmitter
from footprint_compiler.kernels.decisions import choose
from footprint_compiler.kernels.dot import Operands, parts
from footprint_compiler.kernels.dot_wide import WideUnit
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.kernels.tir import cast, index, loop, ramp, seq, splat
from footprint_compiler.kernels.winograd import transformed_weights


class WinogradInt8Emitter(WinogradEmitter):
    """Emits one convolution.

    Args:
        shape: 3 x 3, stride 1, no dilation, one group; channels are multiples of 8.
        machine: vector unit.
        dtype: int8 or uint8, of the input.
        zero_point: of the input.
    """

    operand, accumulator = "int16", "int32"

    def __init__(self, shape: ConvShape, machine: Machine, dtype: str, zero_point: int) -> None:
        lanes = min(machine.lanes("int32"), 8)
        self.unit = WideUnit(machine.dot, lanes, machine.registers)
        super().__init__(shape, machine, 2)
        self.dtype = dtype
        self.zero = zero_point
        self.advantage = 36 / 16 / 1.3
        self.width = min(machine.lanes("int16"), 16)
        self.chunk = 1
        self._most = self.vectors * lanes

    def _choose(self, machine: Machine, tiles: int) -> tuple[int, int]:
        found = self.unit.tiles(tiles, self.shape.out_channels)
        return choose("tile", found[0], found)

    @property
    def packed_elements(self) -> int:
        """Bytes of the transformed weights."""
        return 2 * self.span**2 * self.shape.in_channels * self.shape.out_channels

    def pack(self, weights: np.ndarray) -> np.ndarray:
        """OIHW int8 -> for every position, blocks of output channels, as bytes of int16."""
        wide = np.rint(4 * transformed_weights(weights.astype(np.float64), 2)).astype("<i2")
        flat = wide.reshape(self.span**2, self.shape.in_channels, self.shape.out_channels)
        pieces = [
            self.unit.pack(position[:, first : first + channels].T, self.shape.in_channels)
            for position in flat
            for first, channels in self._blocks()
        ]
        return np.ascontiguousarray(np.concatenate(pieces)).view(np.int8)

    def _blocks(self) -> list[tuple[int, int]]:
        wide = self.shape.out_channels
        return [(first, min(self._most, wide - first)) for first in range(0, wide, self._most)]

    def _entering(self, value: Any, lanes: int) -> Any:
        wide = cast(value, self.dtype, "int16", lanes)
        return wide - splat(tirx.const(self.zero, "int16"), lanes) if self.zero else wide

    def _leaving(self, value: Any, lanes: int) -> Any:
        return tirx.shift_right(value, splat(tirx.const(2, "int32"), lanes))

    def _multiply(self, at: Block, inputs: Any, packed: Any, sums: Any, base: int) -> Any:
        count, depth, wide = at.count, self.shape.in_channels, self.shape.out_channels

        def tile(xi: Any, first: Any, channels: int, begin: int, pixels: int) -> Any:
            offset = (xi * index(wide) + first) * index(2 * depth) + index(base)

            def row(pixel: int) -> Any:
                return xi * index(count) + index(begin + pixel)

            def x_at(pixel: int, _: Any, k: Any, steps: int) -> Any:
                return tirx.BufferLoad(inputs, [ramp(row(pixel) * index(depth) + k, steps)])

            def w_at(element: Any, steps: int) -> Any:
                where = ramp(offset + element * index(2), 2 * steps)
                return tirx.reinterpret(f"int16x{steps}", tirx.BufferLoad(packed, [where]))

            operands = Operands(1, depth, x_at, w_at, None)
            statements, acc = self.unit.emit(pixels, channels, operands)
            lanes = self.unit.lanes
            for pixel in range(pixels):
                for channel in range(0, channels, lanes):
                    value = tirx.BufferLoad(acc, [ramp(pixel * channels + channel, lanes)])
                    place = row(pixel) * index(wide) + first + index(channel)
                    statements.append(tirx.BufferStore(sums, value, [ramp(place, lanes)]))
            return seq(statements)

        def tiles(xi: Any, first: Any, channels: int) -> Any:
            statements, begin = [], 0
            for pixels, times in parts(count, self.pixels):
                for _ in range(times):
                    statements.append(tile(xi, first, channels, begin, pixels))
                    begin += pixels
            return seq(statements)

        def position(xi: Any) -> Any:
            statements, first = [], 0
            for channels, times in parts(wide, self._most):

                def block(b: Any, channels: int = channels, first: int = first) -> Any:
                    return tiles(xi, b * index(channels) + index(first), channels)

                statements.append(loop("ob", 0, times, block))
                first += channels * times
            return seq(statements)

        return loop("xi", 0, self.span**2, position)
