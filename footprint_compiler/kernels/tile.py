"""The register tile that every dense reduction shares: P pixels x V vectors of output channels.

For each step k of the reduction, V vectors of weights are loaded, P input values are broadcast,
and P * V accumulators are updated: out[p, c] = sum_k x[p, k] * w[k, c].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from footprint_compiler.kernels.decisions import choose
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.kernels.tir import cast, index, local, loop, ramp, seq, splat
from footprint_compiler.kernels.written_out import written_out

UNROLL_STEPS = 4
"""Reductions of at most this many steps are written out."""


@dataclass(frozen=True)
class Reduction:
    """One loop of a tile's reduction.

    Attributes:
        begin, end: bounds, static or symbolic.
        pixels: the pixels of the tile that take part (the others read padding).
        x: (pixel, k) -> scalar input value.
        w: (vector, lanes, k) -> vector of weights.
        xs: (pixel, k, count) -> vector of ``count`` input values from k on, where they are
            neighbours in memory.
    """

    begin: Any
    end: Any
    pixels: tuple[int, ...]
    x: Callable[[int, Any], Any]
    w: Callable[[int, int, Any], Any]
    xs: Callable[[int, Any, int], Any] | None = None


@dataclass(frozen=True)
class Tile:
    """Shape of a register tile.

    Attributes:
        pixels: output positions computed at once.
        lanes: lanes of each vector; the last one may be narrower than the machine's.
        dtype: of the accumulators.
        operand: dtype in which inputs and weights arrive; ``dtype`` when empty.
        chunk: steps whose input values are loaded as one vector, for units that multiply by one
            lane of a register.
    """

    pixels: int
    lanes: tuple[int, ...]
    dtype: str
    operand: str = ""
    chunk: int = 1

    def emit(
        self,
        reduce: Callable[[Callable[[Sequence[Reduction]], Any]], Any],
        store: Callable[[Any, Any, Any], Any],
    ) -> Any:
        """Zero the accumulators, reduce, store.

        Args:
            reduce: receives ``steps``, which turns reductions into statements, and returns the
                whole reduction (it may put ``steps`` inside loops of its own).
            store: (pixel, channel offset in the tile, accumulator value) -> statement.
        """
        width = max(self.lanes)
        acc = local("acc", self.pixels * len(self.lanes) * width, self.dtype)

        def slot(pixel: int, vector: int) -> int:
            return (pixel * len(self.lanes) + vector) * width

        def steps(reductions: Sequence[Reduction]) -> Any:
            return seq([self._steps(acc, slot, reduction) for reduction in reductions])

        zero = [
            tirx.BufferStore(
                acc,
                splat(tirx.const(0, self.dtype), lanes),
                [ramp(slot(pixel, vector), lanes)],
            )
            for pixel in range(self.pixels)
            for vector, lanes in enumerate(self.lanes)
        ]

        def finish(pixel: int, vector: int, lanes: int) -> Any:
            def element(lane: Any) -> Any:
                value = tirx.BufferLoad(acc, [lane + index(slot(pixel, vector))])
                return store(pixel, lane + index(vector * width), value)

            return loop("lane", 0, lanes, element, tirx.ForKind.VECTORIZED)

        stores: list[Any] = [
            finish(pixel, vector, lanes)
            for pixel in range(self.pixels)
            for vector, lanes in enumerate(self.lanes)
        ]
        if rolled(self.dtype, self.lanes):
            columns = len(self.lanes)
            stores = store_in_loop(
                acc,
                self.pixels * columns,
                self.dtype,
                lambda at, value: store(at // index(columns), at % index(columns), value),
            )
        return seq([tirx.AllocBuffer(acc), *zero, reduce(steps), *stores])

    def _steps(self, acc: Any, slot: Callable[[int, int], int], reduction: Reduction) -> Any:
        def step(k: Any, values: Sequence[Any]) -> list[Any]:
            statements = []
            weights = [reduction.w(vector, lanes, k) for vector, lanes in enumerate(self.lanes)]
            for pixel, value in zip(reduction.pixels, values, strict=True):
                for vector, lanes in enumerate(self.lanes):
                    where = [ramp(slot(pixel, vector), lanes)]
                    wide = [
                        cast(factor, self.operand or self.dtype, self.dtype, lanes)
                        for factor in (splat(value, lanes), weights[vector])
                    ]
                    product = wide[0] * wide[1]
                    statements.append(
                        tirx.BufferStore(acc, tirx.BufferLoad(acc, where) + product, where)
                    )
            return statements

        def single(k: Any) -> Any:
            return seq(step(k, [reduction.x(pixel, k) for pixel in reduction.pixels]))

        def several(chunk: Any) -> Any:
            first = chunk * index(self.chunk) + index(reduction.begin)
            assert reduction.xs is not None
            loaded = [reduction.xs(pixel, first, self.chunk) for pixel in reduction.pixels]
            lanes = [tirx.const(lane, "int32") for lane in range(self.chunk)]
            parts = [
                step(first + index(i), [tirx.Shuffle([vector], [lane]) for vector in loaded])
                for i, lane in enumerate(lanes)
            ]
            return seq([statement for part in parts for statement in part])

        begin, end = reduction.begin, reduction.end
        if not isinstance(begin, int) or not isinstance(end, int):
            return loop("k", begin, end, single)
        parts = []
        if self.chunk > 1 and reduction.xs is not None and end - begin >= self.chunk:
            chunks = (end - begin) // self.chunk
            parts.append(written_out("kc", 0, chunks, several))
            begin += chunks * self.chunk
        if end - begin <= UNROLL_STEPS:
            parts += [single(index(k)) for k in range(begin, end)]
        else:
            parts.append(written_out("k", begin, end, single))
        return seq(parts)


def rolled(dtype: str, lanes: Sequence[int]) -> bool:
    """Whether results are stored by a loop: integers without vectors, whose requantization is
    long, so that one copy of it for each accumulator would be most of the code."""
    return dtype == "int32" and all(count == 1 for count in lanes)


def store_in_loop(acc: Any, count: int, dtype: str, store: Callable[[Any, Any], Any]) -> list[Any]:
    """Spill ``count`` accumulators to the stack, then ``store(position, value)`` one by one."""
    spilled = local("spilled", count, dtype)
    spill = [
        tirx.BufferStore(spilled, tirx.BufferLoad(acc, [index(at)]), [index(at)])
        for at in range(count)
    ]
    body = loop("at", 0, count, lambda at: store(at, tirx.BufferLoad(spilled, [at])))
    return [tirx.AllocBuffer(spilled), *spill, body]


def choose_tile(machine: Machine, dtype: str, pixels: int, channels: int) -> tuple[int, int]:
    """(pixels, vectors) of the tile: a free choice, by default that of ``best_tile``."""
    best, feasible = _tiles(machine, dtype, pixels, channels)
    return choose("tile", best, feasible)


def best_tile(machine: Machine, dtype: str, pixels: int, channels: int) -> tuple[int, int]:
    """(pixels, vectors) of the tile with the least estimated cycles per output.

    Per step a tile issues P * V multiply-adds and P + V loads, two of each per cycle, and no
    step is shorter than the latency of one accumulation.
    """
    return _tiles(machine, dtype, pixels, channels)[0]


def _tiles(
    machine: Machine, dtype: str, pixels: int, channels: int
) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    lanes = machine.lanes(dtype)
    total_vectors = -(-channels // lanes)
    feasible = [
        (tile_pixels, vectors)
        for vectors in range(1, min(total_vectors, 8) + 1)
        for tile_pixels in range(1, min(pixels, 14) + 1)
        if tile_pixels * vectors + vectors + machine.input_registers(tile_pixels, dtype)
        <= machine.registers
    ] or [(1, 1)]

    def cost(tile: tuple[int, int]) -> float:
        return sum(
            p_count * v_count * (max(p * v / 2, (p + v) / 2, machine.fma_latency) + 0.25)
            for p, p_count in _split(pixels, tile[0])
            for v, v_count in _split(total_vectors, tile[1])
        )

    return min(feasible, key=cost), feasible


def _split(total: int, part: int) -> list[tuple[int, int]]:
    full, rest = divmod(total, part)
    return [(part, full)] * bool(full) + [(rest, 1)] * bool(rest)
