"""Register tiles of 8-bit products whose lanes are parts of the same sum.

Neighbours of a row of x meet neighbours of a row of weights, nothing is broadcast, and the lanes
are added up once at the end:

    smull   SMULL, SMLAL2, SADALP   16 products in three instructions   Armv8.0, Armv7 NEON
    smmla   SMMLA                   2 x 2 sums of 8 products            Armv8.6 i8mm

SMULL gives int16, and a second product may be added to it: two products of int8 exceed int16 only
as (-128)^2 + (-128)^2. Where a weight may be -128, products are therefore not paired.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import tirx

from footprint_compiler.kernels.dot import DotUnit, Operands, chunks, over_rows
from footprint_compiler.kernels.tir import index, local, ramp, seq, splat

QUAD = "int32x4"


@dataclass(frozen=True)
class PairUnit(DotUnit):
    """One register of four partial sums for each output.

    Attributes:
        arm32: Armv7, whose intrinsics have other names.
        registers: of 128 bits.
        paired: no weight is -128.
    """

    arm32: bool
    registers: int
    paired: bool
    operand: str = "int8"
    granule: int = 8
    lanes: int = 4
    direct: bool = True

    def fits(self, pixels: int, vectors: int) -> bool:
        return pixels * vectors * 4 + 2 * pixels + 6 <= self.registers

    def cycles(self, pixels: int, vectors: int) -> float:
        outputs = pixels * vectors * 4
        return (outputs * (3 if self.paired else 4) + pixels + vectors * 4) / 2

    def pack(self, weights: np.ndarray, run: int) -> np.ndarray:
        return pack_chunks(weights, run)

    def emit(self, pixels: int, channels: int, operands: Operands) -> tuple[list[Any], Any]:
        sums = local("sums", pixels * channels * 4, "int32")

        def slot(pixel: int, channel: int) -> Any:
            return ramp((pixel * channels + channel) * 4, 4)

        def add(pixel: int, channel: int, products: list[Any]) -> list[Any]:
            return [
                tirx.BufferStore(
                    sums,
                    self._accumulate(tirx.BufferLoad(sums, [slot(pixel, channel)]), product),
                    [slot(pixel, channel)],
                )
                for product in products
            ]

        def step(row: Any, k: Any, size: int) -> Any:
            base = (row * index(operands.run) + k) * index(channels)
            values = [operands.x(pixel, row, k, size) for pixel in range(pixels)]
            statements = []
            for channel in range(channels):
                weights = operands.w(base + index(channel * size), size)
                for pixel in range(pixels):
                    products = self._products(values[pixel], weights, size)
                    statements += add(pixel, channel, products)
            return seq(statements)

        def steps(row: Any) -> Any:
            done = operands.run // 16 * 16
            return seq(
                [
                    chunks(operands.run, 16, lambda k: step(row, k, 16)),
                    chunks(operands.run, 8, lambda k: step(row, k, 8), done),
                ]
            )

        zero = [
            tirx.BufferStore(sums, splat(tirx.const(0, "int32"), 4), [slot(p, c)])
            for p in range(pixels)
            for c in range(channels)
        ]
        acc = local("acc", pixels * channels, "int32")
        finish = []
        for pixel in range(pixels):
            for channel in range(0, channels, 4):
                four = [tirx.BufferLoad(sums, [slot(pixel, channel + i)]) for i in range(4)]
                total = self._fold(four)
                if operands.start is not None:
                    total = total + operands.start(channel, 4)
                where = [ramp(pixel * channels + channel, 4)]
                finish.append(tirx.BufferStore(acc, total, where))
        body = over_rows(operands, steps)
        return [tirx.AllocBuffer(sums), tirx.AllocBuffer(acc), *zero, body, *finish], acc

    def _products(self, value: Any, weights: Any, size: int) -> list[Any]:
        if size == 8:
            return [self._product(value, weights)]
        low = self._product(tirx.vectorlow("int8x8", value), tirx.vectorlow("int8x8", weights))
        high = self._product(tirx.vectorhigh("int8x8", value), tirx.vectorhigh("int8x8", weights))
        return [low + high] if self.paired else [low, high]

    def _product(self, value: Any, weights: Any) -> Any:
        name = "llvm.arm.neon.vmulls.v8i16" if self.arm32 else "llvm.aarch64.neon.smull.v8i16"
        return tirx.call_llvm_pure_intrin("int16x8", name, value, weights)

    def _accumulate(self, old: Any, product: Any) -> Any:
        if self.arm32:
            name = "llvm.arm.neon.vpadals.v4i32.v8i16"
            return tirx.call_llvm_pure_intrin(QUAD, name, old, product)
        name = "llvm.aarch64.neon.saddlp.v4i32.v8i16"
        return old + tirx.call_llvm_pure_intrin(QUAD, name, product)

    def _fold(self, four: list[Any]) -> Any:
        if not self.arm32:
            return _pairwise(_pairwise(four[0], four[1]), _pairwise(four[2], four[3]))
        halves = [tirx.vectorlow("int32x2", v) + tirx.vectorhigh("int32x2", v) for v in four]
        name = "llvm.arm.neon.vpadd.v2i32"
        pairs = [
            tirx.call_llvm_pure_intrin("int32x2", name, halves[i], halves[i + 1]) for i in (0, 2)
        ]
        return tirx.vectorcombine(QUAD, *pairs)


def _pairwise(a: Any, b: Any) -> Any:
    return tirx.call_llvm_pure_intrin(QUAD, "llvm.aarch64.neon.addp.v4i32", a, b)


def pack_chunks(weights: np.ndarray, run: int) -> np.ndarray:
    """For every row, chunks of 16 terms and perhaps one of 8: [channel][term] each."""
    channels, depth = weights.shape
    pieces = []
    for row in range(0, depth, run):
        done = run // 16 * 16
        for k in (*range(0, done, 16), *range(done, run, 8)):
            size = 16 if k < done else 8
            pieces.append(weights[:, row + k : row + k + size].reshape(channels * size))
    return np.concatenate(pieces)


@dataclass(frozen=True)
class MatrixUnit(DotUnit):
    """One register for two pixels and two channels.

    Attributes:
        registers: of 128 bits.
    """

    registers: int
    operand: str = "int8"
    granule: int = 8
    lanes: int = 4
    direct: bool = True

    def fits(self, pixels: int, vectors: int) -> bool:
        pairs = (pixels + 1) // 2
        return pairs * vectors * 2 + 2 * pairs + 4 <= self.registers

    def cycles(self, pixels: int, vectors: int) -> float:
        pairs = (pixels + 1) // 2
        return (pairs * vectors * 2 + 2 * pairs + vectors) / 2

    def pack(self, weights: np.ndarray, run: int) -> np.ndarray:
        channels, depth = weights.shape
        eights = weights.reshape(channels, depth // 8, 8)
        return np.ascontiguousarray(eights.transpose(1, 0, 2)).ravel()

    def emit(self, pixels: int, channels: int, operands: Operands) -> tuple[list[Any], Any]:
        pairs = [(p, min(p + 1, pixels - 1)) for p in range(0, pixels, 2)]
        sums = local("sums", len(pairs) * channels * 2, "int32")

        def slot(pair: int, channel: int) -> Any:
            return ramp((pair * channels + channel) * 2, 4)

        def products(row: Any, k: Any, values: list[Any]) -> list[Any]:
            base = (row * index(operands.run) + k) * index(channels)
            statements = []
            for channel in range(0, channels, 2):
                weights = operands.w(base + index(channel * 8), 16)
                for pair, value in enumerate(values):
                    old = tirx.BufferLoad(sums, [slot(pair, channel)])
                    name = "llvm.aarch64.neon.smmla.v4i32.v16i8"
                    new = tirx.call_llvm_pure_intrin(QUAD, name, old, value, weights)
                    statements.append(tirx.BufferStore(sums, new, [slot(pair, channel)]))
            return statements

        def sixteen(row: Any, k: Any) -> Any:
            statements = []
            loaded = [(operands.x(a, row, k, 16), operands.x(b, row, k, 16)) for a, b in pairs]
            for half in range(2):
                values = [_eights(a, b, half) for a, b in loaded]
                statements += products(row, k + index(8 * half), values)
            return seq(statements)

        def eight(row: Any, k: Any) -> Any:
            values = [
                tirx.vectorcombine("int8x16", *(operands.x(p, row, k, 8) for p in pair))
                for pair in pairs
            ]
            return seq(products(row, k, values))

        def steps(row: Any) -> Any:
            done = operands.run // 16 * 16
            return seq(
                [
                    chunks(operands.run, 16, lambda k: sixteen(row, k)),
                    chunks(operands.run, 8, lambda k: eight(row, k), done),
                ]
            )

        zero = [
            tirx.BufferStore(sums, splat(tirx.const(0, "int32"), 4), [slot(pair, c)])
            for pair in range(len(pairs))
            for c in range(0, channels, 2)
        ]
        acc = local("acc", pixels * channels, "int32")
        finish = []
        for pair in range(len(pairs)):
            for channel in range(0, channels, 4):
                two = [tirx.BufferLoad(sums, [slot(pair, channel + i)]) for i in (0, 2)]
                for pixel in range(2 * pair, min(2 * pair + 2, pixels)):
                    odd = 2 * (pixel % 2)
                    lanes = [tirx.const(i, "int32") for i in (odd, odd + 1, odd + 4, odd + 5)]
                    total = tirx.Shuffle(two, lanes)
                    if operands.start is not None:
                        total = total + operands.start(channel, 4)
                    where = [ramp(pixel * channels + channel, 4)]
                    finish.append(tirx.BufferStore(acc, total, where))
        body = over_rows(operands, steps)
        return [tirx.AllocBuffer(sums), tirx.AllocBuffer(acc), *zero, body, *finish], acc


def _eights(a: Any, b: Any, half: int) -> Any:
    """The low or high halves of two vectors of 16 bytes, one after the other."""
    lanes = [tirx.const(8 * half + i + 16 * j, "int32") for j in range(2) for i in range(8)]
    return tirx.Shuffle([a, b], lanes)
