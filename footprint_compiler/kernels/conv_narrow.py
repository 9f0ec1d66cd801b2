"""Pointwise float convolution to one or two channels: lanes are parts of the sum over channels.

out[p, o] = sum over lanes l of (sum_k x[p, k * L + l] * W[o, k * L + l])

A tile whose lanes are output channels would have one or two of them. Here neighbouring channels of
a pixel meet as many weights, nothing is broadcast, and lanes are added up once, by halves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import tirx

from footprint_compiler.kernels.conv import ConvShape, Store
from footprint_compiler.kernels.decisions import choose
from footprint_compiler.kernels.dot import parts
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.kernels.tir import index, local, loop, ramp, seq, splat
from footprint_compiler.kernels.written_out import written_out

MOST_OUTPUTS = 2
MOST_PIXELS = 8


class NarrowConvEmitter:
    """Emits one convolution, or its output row ``row``; the interface of ``ConvEmitter``.

    Args:
        shape: see ``suits``.
        machine: vector unit.
        row: emit this output row alone.
    """

    advantage = 1.0
    vectors = 1

    def __init__(self, shape: ConvShape, machine: Machine, row: Any = None) -> None:
        self.shape = shape
        self.row = row
        self.lanes = machine.lanes("float32")
        most = min(shape.out_width, MOST_PIXELS, machine.registers // (2 * shape.out_channels))
        self.pixels = choose("pixels", min(most, 4), range(1, most + 1))

    @staticmethod
    def suits(shape: ConvShape, machine: Machine) -> bool:
        """Whether the input's channels are whole vectors, and there is but a pixel to each."""
        lanes = machine.lanes("float32")
        plain = shape.kernel == (1, 1) and shape.stride == (1, 1) and not any(shape.padding)
        whole = lanes > 1 and shape.in_channels % lanes == 0
        return plain and whole and shape.groups == 1 and shape.out_channels <= MOST_OUTPUTS

    @property
    def packed_elements(self) -> int:
        """Elements of the packed weights."""
        return self.shape.out_channels * self.shape.in_channels

    def pack(self, weights: np.ndarray) -> np.ndarray:
        """OI11 -> OI, flat."""
        return np.ascontiguousarray(weights).ravel()

    def emit(self, x: Any, packed: Any, store: Store, base: int = 0) -> Any:
        """The whole convolution; see ``ConvEmitter.emit``."""
        shape = self.shape

        def row(n: Any, h: Any) -> Any:
            statements, done = [], 0
            for pixels, count in parts(shape.out_width, self.pixels):
                statements.append(self._tiles(n, h, done, pixels, count, x, packed, store, base))
                done += pixels * count
            return seq(statements)

        def image(n: Any) -> Any:
            if self.row is not None:
                return row(n, self.row)
            return loop("h", 0, shape.out_height, lambda h: row(n, h))

        return loop("n", 0, shape.batch, image)

    def _tiles(
        self,
        n: Any,
        h: Any,
        begin: int,
        pixels: int,
        count: int,
        x: Any,
        packed: Any,
        store: Store,
        base: int,
    ) -> Any:
        """``count`` tiles of ``pixels`` columns from column ``begin`` on."""
        shape, lanes = self.shape, self.lanes
        sums = [(pixel, o) for pixel in range(pixels) for o in range(shape.out_channels)]

        def tile(t: Any) -> Any:
            first = t * index(pixels) + index(begin)
            acc = local("acc", len(sums) * lanes, "float32")
            slots = {each: [ramp(at * lanes, lanes)] for at, each in enumerate(sums)}

            def step(k: Any) -> Any:
                at = k * index(lanes)
                weights = [
                    tirx.BufferLoad(packed, [ramp(index(base + o * shape.in_channels) + at, lanes)])
                    for o in range(shape.out_channels)
                ]
                updates = []
                for pixel, o in sums:
                    value = tirx.BufferLoad(x, [n, h, first + index(pixel), ramp(at, lanes)])
                    old = tirx.BufferLoad(acc, slots[pixel, o])
                    updates.append(tirx.BufferStore(acc, old + value * weights[o], slots[pixel, o]))
                return seq(updates)

            zero = splat(tirx.const(0, "float32"), lanes)
            return seq(
                [
                    tirx.AllocBuffer(acc),
                    *(tirx.BufferStore(acc, zero, slots[each]) for each in sums),
                    written_out("k", 0, shape.in_channels // lanes, step),
                    *(self._finish(acc, slots[each], n, h, first, each, store) for each in sums),
                ]
            )

        return loop("wb", 0, count, tile)

    def _finish(
        self,
        acc: Any,
        slot: list[Any],
        n: Any,
        h: Any,
        first: Any,
        each: tuple[int, int],
        store: Store,
    ) -> Any:
        """Add the lanes of a sum, half to half, and store it."""
        lanes, value = self.lanes, tirx.BufferLoad(acc, slot)
        bound = []
        while lanes > 1:
            whole = tirx.Var("lanes", f"float32x{lanes}")
            bound.append(tirx.Bind(whole, value))
            lanes //= 2
            halves = [
                tirx.Shuffle([whole], [tirx.const(lane, "int32") for lane in half])
                for half in (range(lanes), range(lanes, 2 * lanes))
            ]
            value = halves[0] + halves[1]
        total = tirx.Var("total", "float32")
        pixel, o = each
        done = store(n, h, first + index(pixel), index(o), total)
        return seq([*bound, tirx.Bind(total, value), done])
