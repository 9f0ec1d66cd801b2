"""Sums over the taps of a depthwise convolution of 8-bit integers, two taps at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import tirx

from footprint_compiler.kernels.tir import cast, index, ramp

LANES = 8
"""Channels that are multiplied together, at least."""

Value = Callable[[int, int], Any]
"""(pixel, tap) -> vector of input elements of all channels of the block."""
Weights = Callable[[int, int], Any]
"""(byte, count) -> int8 vector of the block's packed weights."""
Start = Callable[[int, int], Any]
"""(lane, count) -> int32 vector from which the sums start."""


def _pairs(taps: int) -> list[tuple[int, ...]]:
    return [tuple(range(tap, min(tap + 2, taps))) for tap in range(0, taps, 2)]


@dataclass(frozen=True)
class PlainTaps:
    """Any number of channels, widened to int32 one tap at a time; weights are [tap][channel]."""

    width: int

    def bytes(self, taps: int) -> int:
        """Bytes of packed weights."""
        return taps * self.width

    def pack(self, weights: np.ndarray) -> np.ndarray:
        """(taps, channels) -> bytes."""
        return weights.ravel()

    def emit(
        self,
        acc: Any,
        pixels: int,
        taps: int,
        dtype: str,
        value: Value,
        weights: Weights,
        start: Start,
    ) -> list[Any]:
        """Statements after which ``acc`` holds [pixel][channel]."""
        statements = []
        for pixel in range(pixels):
            total = start(0, self.width)
            for tap in range(taps):
                factor = cast(weights(tap * self.width, self.width), "int8", "int32", self.width)
                total = total + cast(value(pixel, tap), dtype, "int32", self.width) * factor
            where = [ramp(pixel * self.width, self.width)]
            statements.append(tirx.BufferStore(acc, total, where))
        return statements


@dataclass(frozen=True)
class NarrowTaps:
    """Products of int8 in int16, of two taps added there (128-bit Arm).

    Attributes:
        width: channels, a multiple of 8.
        arm32: Armv7, whose intrinsics have other names.
        paired: no weight is -128, so that two products fit int16.
    """

    width: int
    arm32: bool
    paired: bool

    def bytes(self, taps: int) -> int:
        """Bytes of packed weights."""
        return taps * self.width

    def pack(self, weights: np.ndarray) -> np.ndarray:
        """(taps, channels) -> bytes."""
        return weights.ravel()

    def emit(
        self,
        acc: Any,
        pixels: int,
        taps: int,
        dtype: str,
        value: Value,
        weights: Weights,
        start: Start,
    ) -> list[Any]:
        """Statements after which ``acc`` holds [pixel][channel]."""
        statements = [
            tirx.BufferStore(acc, start(lane, 4), [ramp(pixel * self.width + lane, 4)])
            for pixel in range(pixels)
            for lane in range(0, self.width, 4)
        ]
        for pair in _pairs(taps):
            factors = [weights(tap * self.width, self.width) for tap in pair]
            for pixel in range(pixels):
                values = [value(pixel, tap) for tap in pair]
                for lane in range(0, self.width, LANES):
                    products = [
                        self._product(self._part(v, lane), self._part(w, lane))
                        for v, w in zip(values, factors, strict=True)
                    ]
                    if self.paired and len(products) == 2:
                        products = [products[0] + products[1]]
                    for product in products:
                        statements += self._add(acc, pixel * self.width + lane, product)
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
    def _add(acc: Any, at: int, product: Any) -> list[Any]:
        halves = [tirx.vectorlow("int16x4", product), tirx.vectorhigh("int16x4", product)]
        statements = []
        for number, half in enumerate(halves):
            where = [ramp(index(at + 4 * number), 4)]
            total = tirx.BufferLoad(acc, where) + cast(half, "int16", "int32", 4)
            statements.append(tirx.BufferStore(acc, total, where))
        return statements


@dataclass(frozen=True)
class InterleavedTaps:
    """Two taps interleaved as int16 and multiplied and added by PMADDWD (x86-64).

    Registers are interleaved in parts of 128 bits, as PUNPCKLWD and PUNPCKHWD do it; so are the
    weights, and the sums are put in order at the end.

    Attributes:
        width: channels: 8, 16 or 32.
    """

    width: int

    def bytes(self, taps: int) -> int:
        """Bytes of packed weights."""
        return (taps + taps % 2) * self.width

    def pack(self, weights: np.ndarray) -> np.ndarray:
        """(taps, channels) -> for each pair, its low and its high interleaved register."""
        padded = np.pad(weights, ((0, len(weights) % 2), (0, 0)))
        both = padded.reshape(-1, 2 * self.width)
        order = [*self._order(0), *self._order(4)]
        return np.ascontiguousarray(both[:, order]).ravel()

    def _order(self, first: int) -> list[int]:
        """Elements of two registers in one interleaved register: 0 the low one, 4 the high one."""
        lanes = [part + first + i for part in range(0, self.width, 8) for i in range(4)]
        return [element for lane in lanes for element in (lane, lane + self.width)]

    def emit(
        self,
        acc: Any,
        pixels: int,
        taps: int,
        dtype: str,
        value: Value,
        weights: Weights,
        start: Start,
    ) -> list[Any]:
        """Statements after which ``acc`` holds [pixel][channel]."""
        half = self.width // 2

        def slot(pixel: int, side: int) -> list[Any]:
            return [ramp(pixel * self.width + side * half, half)]

        zero = tirx.Broadcast(tirx.const(0, "int32"), half)
        statements = [
            tirx.BufferStore(acc, zero, slot(pixel, side))
            for pixel in range(pixels)
            for side in range(2)
        ]
        for number, pair in enumerate(_pairs(taps)):
            factors = [
                cast(
                    weights((2 * number + side) * self.width, self.width),
                    "int8",
                    "int16",
                    self.width,
                )
                for side in range(2)
            ]
            for pixel in range(pixels):
                values = [cast(value(pixel, tap), dtype, "int16", self.width) for tap in pair]
                if len(values) == 1:
                    values.append(tirx.Broadcast(tirx.const(0, "int16"), self.width))
                for side in range(2):
                    order = [tirx.const(e, "int32") for e in self._order(4 * side)]
                    product = self._madd(tirx.Shuffle(values, order), factors[side])
                    where = slot(pixel, side)
                    total = tirx.BufferLoad(acc, where) + product
                    statements.append(tirx.BufferStore(acc, total, where))
        for pixel in range(pixels):
            sides = [tirx.BufferLoad(acc, slot(pixel, side)) for side in range(2)]
            order = [
                tirx.const(part // 2 + side * half + i, "int32")
                for part in range(0, self.width, 8)
                for side in range(2)
                for i in range(4)
            ]
            total = tirx.Shuffle(sides, order) + start(0, self.width)
            statements.append(tirx.BufferStore(acc, total, [ramp(pixel * self.width, self.width)]))
        return statements

    def _madd(self, values: Any, factors: Any) -> Any:
        name = {
            8: "llvm.x86.sse2.pmadd.wd",
            16: "llvm.x86.avx2.pmadd.wd",
            32: "llvm.x86.avx512.pmaddw.d.512",
        }[self.width]
        return tirx.call_llvm_pure_intrin(f"int32x{self.width // 2}", name, values, factors)
