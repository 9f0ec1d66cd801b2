"""Register tiles of 8-bit products by instructions that multiply and add neighbours of a row.

out[p, n] = start[n] + sum_k x[p, k] * w[n, k], in int32, exactly.

The sum over k is cut into groups that one lane of an instruction adds up. Here a lane belongs to
one output channel, and the group of x is broadcast to all lanes:

    madd    PMADDWD          2 products of int16           x86-64
    dpbusd  VPDPBUSD         4 products of uint8 * int8    AVX-512 VNNI, AVX-VNNI
    sdot    SDOT by element  4 products of int8            Armv8.2 dot product

None of them can saturate: the largest sums are 2 * 2^15 * 2^7, 4 * 255 * 128 and 4 * 2^14.
``dot_rows`` has those whose lanes are parts of one sum.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from tvm import tirx

from footprint_compiler.kernels.tir import cast, index, local, loop, ramp, seq, splat
from footprint_compiler.kernels.written_out import written_out

MOST_PIXELS = 14
MOST_VECTORS = 8


@dataclass(frozen=True)
class Operands:
    """What a tile multiplies: ``rows`` rows of ``run`` neighbours each.

    Attributes:
        rows, run: the sum has rows * run terms; ``run`` is a multiple of the unit's granule.
        x: (pixel, row, k, count) -> vector of ``count`` operand elements from k on.
        w: (element, count) -> vector of the block's packed weights, of the unit's dtype.
        start: (channel, count) -> int32 vector from which the sums start, or None for zero.
    """

    rows: int
    run: int
    x: Callable[[int, Any, Any, int], Any]
    w: Callable[[Any, int], Any]
    start: Callable[[int, int], Any] | None


class DotUnit(ABC):
    """One way to compute a tile.

    Attributes:
        lanes: what the channels of a tile are a multiple of.
        direct: x may be read where it lies; otherwise it is copied and widened first.
        weight: dtype of packed weights.
    """

    lanes: int
    direct: bool
    weight: ClassVar[str] = "int8"

    @property
    @abstractmethod
    def operand(self) -> str:
        """Dtype of the elements of x."""

    @property
    @abstractmethod
    def granule(self) -> int:
        """What a run must be a multiple of."""

    @abstractmethod
    def fits(self, pixels: int, vectors: int) -> bool:
        """Whether a tile needs no more registers than there are."""

    @abstractmethod
    def cycles(self, pixels: int, vectors: int) -> float:
        """Estimated cost of ``granule`` terms of every sum of a tile."""

    @abstractmethod
    def pack(self, weights: np.ndarray, run: int) -> np.ndarray:
        """(channels, depth) int8 -> bytes in the order of reading; depth is a multiple of run."""

    @abstractmethod
    def emit(self, pixels: int, channels: int, operands: Operands) -> tuple[list[Any], Any]:
        """(statements, int32 buffer [pixels * channels] that holds the sums after them)."""

    def tiles(self, pixels: int, channels: int) -> list[tuple[int, int]]:
        """(pixels, vectors of channels) of every tile that fits, the one with the least estimated
        cost for that many outputs first."""
        total = -(-channels // self.lanes)
        feasible = [
            (count, vectors)
            for vectors in range(1, min(total, MOST_VECTORS) + 1)
            for count in range(1, min(pixels, MOST_PIXELS) + 1)
            if self.fits(count, vectors)
        ] or [(1, 1)]

        def cost(tile: tuple[int, int]) -> float:
            return sum(
                p_count * v_count * (self.cycles(p, v) + 0.25)
                for p, p_count in parts(pixels, tile[0])
                for v, v_count in parts(total, tile[1])
            )

        return sorted(feasible, key=cost)


def parts(total: int, part: int) -> list[tuple[int, int]]:
    """(size, how many) of the pieces of ``total``."""
    full, rest = divmod(total, part)
    return [(part, full)] * bool(full) + [(rest, 1)] * bool(rest)


def over_rows(operands: Operands, steps: Callable[[Any], Any]) -> Any:
    """``steps(row)`` for every row."""
    return loop("i", 0, operands.rows, steps)


def chunks(run: int, size: int, body: Callable[[Any], Any], first: int = 0) -> Any:
    """``body(k)`` for each full chunk of ``size`` terms from ``first`` on."""
    count = (run - first) // size

    def one(k: Any) -> Any:
        return body(k * index(size) + index(first))

    if count < 2:
        return loop("k", 0, count, one) if count else seq([])
    return written_out("k", 0, count, one)


@dataclass(frozen=True)
class LaneUnit(DotUnit):
    """One lane for each channel.

    Attributes:
        kind: ``madd``, ``dpbusd`` or ``sdot``.
        lanes: channels in one register.
        registers: of the vector unit.
        direct: see ``DotUnit``.
    """

    kind: str
    lanes: int
    registers: int
    direct: bool = False

    @property
    def group(self) -> int:
        """Neighbours that one lane multiplies and adds."""
        return 2 if self.kind == "madd" else 4

    @property
    def operand(self) -> str:
        return {"madd": "int16", "dpbusd": "uint8", "sdot": "int8"}[self.kind]

    @property
    def granule(self) -> int:
        return self.group

    def fits(self, pixels: int, vectors: int) -> bool:
        broadcast = pixels if self.kind == "sdot" else 1
        product = 1 if self.kind == "madd" else 0
        return pixels * vectors + vectors + broadcast + product <= self.registers

    def cycles(self, pixels: int, vectors: int) -> float:
        products = pixels * vectors
        if self.kind == "sdot":
            return (products + vectors / 2 + pixels / 4) / 2
        if self.kind == "madd":
            return max((2 * products + 2 * vectors + pixels) / 4, products / 2, 2)
        return max(products / 2, (pixels + vectors) / 2, 4)

    def pack(self, weights: np.ndarray, run: int) -> np.ndarray:
        channels, depth = weights.shape
        grouped = weights.reshape(channels, depth // self.group, self.group)
        return np.ascontiguousarray(grouped.transpose(1, 0, 2)).ravel()

    def emit(self, pixels: int, channels: int, operands: Operands) -> tuple[list[Any], Any]:
        vectors = channels // self.lanes
        acc = local("acc", pixels * channels, "int32")

        def slot(pixel: int, vector: int) -> Any:
            return ramp(pixel * channels + vector * self.lanes, self.lanes)

        def update(pixel: int, vector: int, value: Any, weights: Any) -> Any:
            old = tirx.BufferLoad(acc, [slot(pixel, vector)])
            return tirx.BufferStore(acc, self._sum(old, value, weights), [slot(pixel, vector)])

        def group(row: Any, k: Any, value: Callable[[int], Any]) -> list[Any]:
            base = (row * index(operands.run) + k) * index(channels)
            size = self.lanes * self.group
            weights = [operands.w(base + index(v * size), size) for v in range(vectors)]
            return [
                update(pixel, vector, broadcast, weights[vector])
                for pixel in range(pixels)
                for broadcast in [value(pixel)]
                for vector in range(vectors)
            ]

        def one(row: Any, k: Any) -> Any:
            return seq(group(row, k, lambda p: self._splat(operands.x(p, row, k, self.group))))

        def four(row: Any, k: Any) -> Any:
            loaded = [tirx.reinterpret("int32x4", operands.x(p, row, k, 16)) for p in range(pixels)]

            def words(part: int) -> Callable[[int], Any]:
                at = tirx.const(part, "int32")
                return lambda pixel: self._repeat(tirx.Shuffle([loaded[pixel]], [at]))

            parts = [group(row, k + index(4 * part), words(part)) for part in range(4)]
            return seq([statement for part in parts for statement in part])

        def steps(row: Any) -> Any:
            if self.kind != "sdot":
                return chunks(operands.run, self.group, lambda k: one(row, k))
            done = operands.run // 16 * 16
            return seq(
                [
                    chunks(operands.run, 16, lambda k: four(row, k)),
                    chunks(operands.run, 4, lambda k: one(row, k), done),
                ]
            )

        start = operands.start
        first = [
            tirx.BufferStore(
                acc,
                start(vector * self.lanes, self.lanes)
                if start
                else splat(tirx.const(0, "int32"), self.lanes),
                [slot(pixel, vector)],
            )
            for pixel in range(pixels)
            for vector in range(vectors)
        ]
        return [tirx.AllocBuffer(acc), *first, over_rows(operands, steps)], acc

    def _splat(self, value: Any) -> Any:
        return self._repeat(tirx.reinterpret("int32", value))

    def _repeat(self, word: Any) -> Any:
        repeated = tirx.Broadcast(word, self.lanes)
        return tirx.reinterpret(f"{self.operand}x{self.lanes * self.group}", repeated)

    def _sum(self, old: Any, value: Any, weights: Any) -> Any:
        bits = 32 * self.lanes
        dtype = f"int32x{self.lanes}"
        if self.kind == "sdot":
            name = "llvm.aarch64.neon.sdot.v4i32.v16i8"
            return tirx.call_llvm_pure_intrin(dtype, name, old, weights, value)
        if self.kind == "dpbusd":
            name = f"llvm.x86.avx512.vpdpbusd.{bits}"
            return tirx.call_llvm_pure_intrin(dtype, name, old, value, weights)
        wide = cast(weights, "int8", "int16", 2 * self.lanes)
        return old + tirx.call_llvm_pure_intrin(dtype, MADD[bits], value, wide)


MADD = {
    128: "llvm.x86.sse2.pmadd.wd",
    256: "llvm.x86.avx2.pmadd.wd",
    512: "llvm.x86.avx512.pmaddw.d.512",
}
