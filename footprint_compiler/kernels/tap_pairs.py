"""Sums over the taps of a depthwise convolution of 8-bit integers, two taps at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from tvm import tirx

from footprint_compiler.kernels.dot import MADD
from footprint_compiler.kernels.tir import cast, index, ramp

LANES = 8
"""Channels that are multiplied together, at least."""


@dataclass(frozen=True)
class TapTile:
    """What the sums of a tile of output columns and a block of channels are made of.

    Attributes:
        pixels: output columns.
        dtype: of the input elements.
        value: (pixel, tap, lane, count) -> vector of input elements of ``count`` channels.
        weights: (byte, count) -> int8 vector of the block's packed weights.
        start: (lane, count) -> int32 vector from which the sums start.
    """

    pixels: int
    dtype: str
    value: Callable[[int, int, int, int], Any]
    weights: Callable[[int, int], Any]
    start: Callable[[int, int], Any]


@dataclass(frozen=True)
class Taps(ABC):
    """One way to compute the sums of a block of channels; weights are [tap][channel].

    Attributes:
        width: channels.
        kernel: rows and columns.
    """

    width: int
    kernel: tuple[int, int]

    @property
    def count(self) -> int:
        """Taps of the window."""
        return self.kernel[0] * self.kernel[1]

    @property
    def bytes(self) -> int:
        """Bytes of packed weights."""
        return self.count * self.width

    def pack(self, weights: np.ndarray) -> np.ndarray:
        """(taps, channels) -> bytes."""
        return weights.ravel()

    @abstractmethod
    def emit(self, acc: Any, tile: TapTile) -> list[Any]:
        """Statements after which ``acc`` holds [pixel][channel]."""


class PlainTaps(Taps):
    """Any number of channels, widened to int32 one tap at a time."""

    def emit(self, acc: Any, tile: TapTile) -> list[Any]:
        """See ``Taps``."""
        statements = []
        for pixel in range(tile.pixels):
            total = tile.start(0, self.width)
            for tap in range(self.count):
                weights = tile.weights(tap * self.width, self.width)
                value = tile.value(pixel, tap, 0, self.width)
                factor = cast(weights, "int8", "int32", self.width)
                total = total + cast(value, tile.dtype, "int32", self.width) * factor
            where = [ramp(pixel * self.width, self.width)]
            statements.append(tirx.BufferStore(acc, total, where))
        return statements


@dataclass(frozen=True)
class NarrowTaps(Taps):
    """Products of int8 in int16, of two taps added there (128-bit Arm); a multiple of 8 channels.

    Attributes:
        arm32: Armv7, whose intrinsics have other names.
        paired: no weight is -128, so that two products fit int16.
    """

    arm32: bool
    paired: bool

    def emit(self, acc: Any, tile: TapTile) -> list[Any]:
        """See ``Taps``."""
        statements = [
            tirx.BufferStore(acc, tile.start(lane, 4), [ramp(pixel * self.width + lane, 4)])
            for pixel in range(tile.pixels)
            for lane in range(0, self.width, 4)
        ]
        for pair in _pairs(self.count):
            factors = [tile.weights(tap * self.width, self.width) for tap in pair]
            for pixel in range(tile.pixels):
                values = [tile.value(pixel, tap, 0, self.width) for tap in pair]
                for lane in range(0, self.width, LANES):
                    products = [
                        self._product(self._part(v, lane), self._part(w, lane))
                        for v, w in zip(values, factors, strict=True)
                    ]
                    if self.paired and len(products) == 2:
                        products = [products[0] + products[1]]
                    for each in products:
                        statements += self._add(acc, pixel * self.width + lane, each)
        return statements

    def _part(self, value: Any, lane: int) -> Any:
        if self.width == LANES:
            return value
        half = tirx.vectorhigh if lane else tirx.vectorlow
        return half("int8x8", value)

    def _product(self, value: Any, weights: Any) -> Any:
        name = "llvm.arm.neon.vmulls.v8i16" if self.arm32 else "llvm.aarch64.neon.smull.v8i16"
        return tirx.call_llvm_pure_intrin("int16x8", name, value, weights)

    @staticmethod
    def _add(acc: Any, at: int, products: Any) -> list[Any]:
        halves = [tirx.vectorlow("int16x4", products), tirx.vectorhigh("int16x4", products)]
        statements = []
        for number, half in enumerate(halves):
            where = [ramp(index(at + 4 * number), 4)]
            total = tirx.BufferLoad(acc, where) + cast(half, "int16", "int32", 4)
            statements.append(tirx.BufferStore(acc, total, where))
        return statements


@dataclass(frozen=True)
class InterleavedTaps(Taps):
    """Two taps interleaved as int16 and multiplied and added by PMADDWD (x86-64).

    Taps of two kernel rows are paired, so that what one column of the image gives is the same for
    every output pixel that reads it. A last row has zeros for partners: its elements are widened
    to int32, whose lower halves are multiplied. A single row is paired by columns.

    Attributes:
        lanes: int32 in one register, a divisor of ``width``, which is 8, 16 or 32.
    """

    lanes: int

    @property
    def _pairs(self) -> list[tuple[int, ...]]:
        rows, columns = self.kernel
        if rows == 1:
            return _pairs(columns)
        whole = [
            (i * columns + j, (i + 1) * columns + j)
            for i in range(0, rows - 1, 2)
            for j in range(columns)
        ]
        last = range((rows - 1) * columns, rows * columns) if rows % 2 else range(0)
        return [*whole, *((tap,) for tap in last)]

    @property
    def bytes(self) -> int:
        """Bytes of packed weights."""
        return 2 * len(self._pairs) * self.width

    def pack(self, weights: np.ndarray) -> np.ndarray:
        """(taps, channels) -> [register of sums][pair][lane][tap of the pair]."""
        padded = np.pad(weights, ((0, 1), (0, 0)))
        both = padded[[(*pair, -1)[:2] for pair in self._pairs]]
        registers = both.reshape(len(self._pairs), 2, -1, self.lanes)
        return np.ascontiguousarray(registers.transpose(2, 0, 3, 1)).ravel()

    def emit(self, acc: Any, tile: TapTile) -> list[Any]:
        """See ``Taps``."""
        size = 2 * self.lanes
        lanes = range(0, self.width, self.lanes)

        def where(pixel: int, lane: int) -> list[Any]:
            return [ramp(pixel * self.width + lane, self.lanes)]

        zero = tirx.Broadcast(tirx.const(0, "int32"), self.lanes)
        statements = [
            tirx.BufferStore(acc, zero, where(pixel, lane))
            for pixel in range(tile.pixels)
            for lane in lanes
        ]
        for step, (lane, pair) in enumerate(product(lanes, self._pairs)):
            factors = cast(tile.weights(step * size, size), "int8", "int16", size)
            for pixel in range(tile.pixels):
                values = self._interleaved(tile, pixel, pair, lane)
                madd = tirx.call_llvm_pure_intrin(
                    f"int32x{self.lanes}", MADD[32 * self.lanes], values, factors
                )
                total = tirx.BufferLoad(acc, where(pixel, lane)) + madd
                statements.append(tirx.BufferStore(acc, total, where(pixel, lane)))
        for pixel in range(tile.pixels):
            channels = [ramp(pixel * self.width, self.width)]
            total = tirx.BufferLoad(acc, channels) + tile.start(0, self.width)
            statements.append(tirx.BufferStore(acc, total, channels))
        return statements

    def _interleaved(self, tile: TapTile, pixel: int, pair: tuple[int, ...], lane: int) -> Any:
        """What a pair of taps reads for the channels from ``lane`` on, as int16."""
        if len(pair) == 1:
            value = tile.value(pixel, pair[0], lane, self.lanes)
            wide = cast(value, tile.dtype, "int32", self.lanes)
            return tirx.reinterpret(f"int16x{2 * self.lanes}", wide)
        elements = [tile.value(pixel, tap, 0, self.width) for tap in pair]
        channels = range(lane, lane + self.lanes)
        order = [tirx.const(at, "int32") for c in channels for at in (c, c + self.width)]
        return cast(tirx.Shuffle(elements, order), tile.dtype, "int16", 2 * self.lanes)


def _pairs(taps: int) -> list[tuple[int, ...]]:
    return [tuple(range(tap, min(tap + 2, taps))) for tap in range(0, taps, 2)]
