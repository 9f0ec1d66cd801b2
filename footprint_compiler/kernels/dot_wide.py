"""Register tiles of products of int16: PMADDWD on x86-64, SMLAL by element on Arm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from tvm import tirx

from footprint_compiler.kernels.dot import MADD, DotUnit, Operands, chunks, over_rows
from footprint_compiler.kernels.tir import index, local, ramp, seq, splat

STEPS = 8
"""Terms of x that Arm loads as one register."""


@dataclass(frozen=True)
class WideUnit(DotUnit):
    """One lane for each channel; ``Operands.w`` gives int16 vectors by element.

    Attributes:
        kind: ``madd``, ``smull`` (aarch64) or ``vmull`` (Armv7).
        lanes: channels in one register; 4 on Arm.
        registers: of the vector unit.
    """

    kind: str
    lanes: int
    registers: int
    weight: ClassVar[str] = "int16"
    operand: str = "int16"
    direct: bool = False

    @property
    def group(self) -> int:
        """Neighbours that one lane multiplies and adds."""
        return 2 if self.kind == "madd" else 1

    @property
    def granule(self) -> int:
        return 2 if self.kind == "madd" else STEPS

    def fits(self, pixels: int, vectors: int) -> bool:
        others = vectors + 2 if self.kind == "madd" else vectors + pixels
        return pixels * vectors + others <= self.registers

    def cycles(self, pixels: int, vectors: int) -> float:
        products = pixels * vectors
        if self.kind == "madd":
            return max((2 * products + vectors + pixels) / 4, products / 2, 2)
        return (STEPS * (products + vectors / 2) + pixels) / 2

    def pack(self, weights: np.ndarray, run: int) -> np.ndarray:
        """(channels, depth) int16 -> [k / group][channel][group]."""
        channels, depth = weights.shape
        grouped = weights.reshape(channels, depth // self.group, self.group)
        return np.ascontiguousarray(grouped.transpose(1, 0, 2)).ravel()

    def emit(self, pixels: int, channels: int, operands: Operands) -> tuple[list[Any], Any]:
        """See ``DotUnit``."""
        vectors = channels // self.lanes
        acc = local("acc", pixels * channels, "int32")

        def slot(pixel: int, vector: int) -> list[Any]:
            return [ramp(pixel * channels + vector * self.lanes, self.lanes)]

        def group(row: Any, k: Any, values: list[Any]) -> list[Any]:
            base = (row * index(operands.run) + k) * index(channels)
            size = self.lanes * self.group
            weights = [operands.w(base + index(v * size), size) for v in range(vectors)]
            return [
                tirx.BufferStore(
                    acc,
                    tirx.BufferLoad(acc, slot(pixel, vector))
                    + self._product(value, weights[vector]),
                    slot(pixel, vector),
                )
                for pixel, value in enumerate(values)
                for vector in range(vectors)
            ]

        def pairs(row: Any, k: Any) -> Any:
            values = []
            for pixel in range(pixels):
                word = tirx.reinterpret("int32", operands.x(pixel, row, k, 2))
                repeated = tirx.Broadcast(word, self.lanes)
                values.append(tirx.reinterpret(f"int16x{2 * self.lanes}", repeated))
            return seq(group(row, k, values))

        def eight(row: Any, k: Any) -> Any:
            loaded = [operands.x(pixel, row, k, STEPS) for pixel in range(pixels)]
            statements = []
            for step in range(STEPS):
                lane = [tirx.const(step, "int32")]
                values = [tirx.Broadcast(tirx.Shuffle([v], lane), self.lanes) for v in loaded]
                statements += group(row, k + index(step), values)
            return seq(statements)

        def steps(row: Any) -> Any:
            body = pairs if self.kind == "madd" else eight
            return chunks(operands.run, self.granule, lambda k: body(row, k))

        start = operands.start
        zero = splat(tirx.const(0, "int32"), self.lanes)
        first = [
            tirx.BufferStore(
                acc,
                start(vector * self.lanes, self.lanes) if start else zero,
                slot(pixel, vector),
            )
            for pixel in range(pixels)
            for vector in range(vectors)
        ]
        return [tirx.AllocBuffer(acc), *first, over_rows(operands, steps)], acc

    def _product(self, value: Any, weights: Any) -> Any:
        dtype = f"int32x{self.lanes}"
        if self.kind == "madd":
            return tirx.call_llvm_pure_intrin(dtype, MADD[32 * self.lanes], value, weights)
        arm32 = self.kind == "vmull"
        name = "llvm.arm.neon.vmulls.v4i32" if arm32 else "llvm.aarch64.neon.smull.v4i32"
        return tirx.call_llvm_pure_intrin(dtype, name, weights, value)
