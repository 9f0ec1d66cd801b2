"""Replay of a segment on a picture of the arena, byte by byte and row by row.

Every byte remembers which byte of which value was written there last; bytes are taken together by
as many as divide all offsets and sizes. The stages run as the
generated loops do; each row that a window names must be found whole where it is read, no row may
be written over bytes that the same call of a kernel reads, but exactly in place, and all of every
output must be there at the end. Nothing here asks how rings or distances were computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import gcd

import numpy as np

from footprint_compiler.errors import PlanError
from footprint_compiler.memory.plan import MemoryPlan
from footprint_compiler.memory.verify_rules import Root, extent
from footprint_compiler.program import KernelCall, Program
from footprint_compiler.streaming.direction import runs_downwards
from footprint_compiler.streaming.schedule import Schedule, schedule_rows

CLOBBERED = -1
VALUE_BITS = 40
"""Bytes of one value are numbered below 2 to this."""


@dataclass(frozen=True)
class Block:
    """Where the rows of a tensor lie: row h is the bytes from ``start + h % ring * row_bytes``.

    ``value`` and ``first_byte`` say what they mean: bytes of that storage from there on.
    """

    start: int
    row_bytes: int
    ring: int
    height: int
    value: int
    first_byte: int

    def place(self, row: int) -> slice:
        begin = self.start + row % self.ring * self.row_bytes
        return slice(begin, begin + self.row_bytes)

    def content(self, row: int) -> np.ndarray:
        first = (self.value << VALUE_BITS) + self.first_byte + row * self.row_bytes
        return np.arange(first, first + self.row_bytes, dtype=np.int64)

    def numbers(self) -> tuple[int, int, int]:
        return self.start, self.row_bytes, self.first_byte

    def in_units(self, unit: int) -> Block:
        start, row_bytes, first_byte = (number // unit for number in self.numbers())
        return replace(self, start=start, row_bytes=row_bytes, first_byte=first_byte)


def replay_segment(
    program: Program, plan: MemoryPlan, roots: Mapping[str, Root], step: int
) -> None:
    """Raise PlanError at the first row that is not where a kernel looks for it."""
    call = program.calls[step]
    assert call.segment is not None
    blocks = _blocks(program, plan, roots, step)
    first = len(call.segment.rings)
    own = [extent(plan, f"scratch:{step}:{at}") for at in range(first, len(call.scratch))]
    bounds = [number for block in blocks.values() for number in block.numbers()]
    unit = max(1, gcd(*bounds, *(number for pair in own for number in pair)))
    blocks = {name: block.in_units(unit) for name, block in blocks.items()}
    own = [(begin // unit, end // unit) for begin, end in own]
    arena = np.full(-(-plan.arena_bytes // unit), CLOBBERED, np.int64)
    for name in call.inputs:
        if name in program.tensors:
            _write_rows(arena, blocks[name])
    for stage, row in _run(call, plan):
        kernel = call.segment.stages[stage]
        where = f"row {row} of {kernel.kernel} in step {step}"
        reads = _read(program, arena, blocks, kernel, row, where)
        target = blocks[kernel.outputs[0]]
        place = target.place(row)
        for begin, end in own[: len(kernel.scratch)]:
            arena[begin:end] = CLOBBERED
            reads.append((slice(begin, end), False))
        for other, exact in reads:
            apart = other.stop <= place.start or place.stop <= other.start
            if not apart and not (exact and other == place):
                raise PlanError(f"{where} is written over bytes that the kernel needs")
        arena[place] = target.content(row)
    for name in call.outputs:
        for row in range(blocks[name].height):
            if not np.array_equal(arena[blocks[name].place(row)], blocks[name].content(row)):
                raise PlanError(f"row {row} of {name!r} is not there after step {step}")


def _blocks(
    program: Program, plan: MemoryPlan, roots: Mapping[str, Root], step: int
) -> dict[str, Block]:
    call = program.calls[step]
    assert call.segment is not None
    numbers = {name: index for index, name in enumerate(plan.placements)}
    blocks = {}
    for name in (*call.inputs, *call.outputs):
        if name not in program.tensors:
            continue
        shape, size = program.tensors[name].shape, program.tensors[name].size_bytes
        height = shape[1] if len(shape) == 4 and shape[0] == 1 else 1
        root = roots[name]
        start = extent(plan, name)[0]
        blocks[name] = Block(start, size // height, height, height, numbers[root.name], root.delta)
    for index, ring in enumerate(call.segment.rings):
        height = ring.tensor.shape[1]
        scratch = f"scratch:{step}:{index}"
        row_bytes = ring.tensor.size_bytes // height
        start, end = extent(plan, scratch)
        if end - start < ring.rows * row_bytes:
            raise PlanError(f"{scratch!r} is smaller than the {ring.rows} rows of its ring")
        blocks[ring.tensor.name] = Block(start, row_bytes, ring.rows, height, numbers[scratch], 0)
    return blocks


def _write_rows(arena: np.ndarray, block: Block) -> None:
    for row in range(block.height):
        arena[block.place(row)] = block.content(row)


def _read(
    program: Program,
    arena: np.ndarray,
    blocks: Mapping[str, Block],
    kernel: KernelCall,
    row: int,
    where: str,
) -> list[tuple[slice, bool]]:
    """Check the rows that the kernel reads; their places, and whether each is read exactly."""
    assert kernel.rows is not None
    found = []
    for position, name in enumerate(kernel.inputs):
        if name in program.constants:
            continue
        window = kernel.rows.windows.get(position)
        rows = range(blocks[name].height) if window is None else range(*window.rows(row))
        for needed in rows:
            place = blocks[name].place(needed)
            if not np.array_equal(arena[place], blocks[name].content(needed)):
                raise PlanError(f"{where} reads row {needed} of {name!r}, which is not there")
            exact = position in kernel.rows.exact and needed == row
            found.append((place, exact))
    return found


def _run(call: KernelCall, plan: MemoryPlan) -> Iterator[tuple[int, int]]:
    """(stage, row) in the order of the generated loops."""
    assert call.segment is not None
    downwards = runs_downwards(call, lambda name: extent(plan, name)[0])
    schedule = schedule_rows(call.segment.stages, frozenset(call.outputs), downwards)
    done = [0] * len(schedule.heights)
    for root in schedule.roots:
        yield from _until(schedule, done, root, schedule.heights[root])


def _until(schedule: Schedule, done: list[int], stage: int, rows: int) -> Iterator[tuple[int, int]]:
    while done[stage] < rows:
        count = done[stage]
        for asked in schedule.demands[stage]:
            yield from _until(schedule, done, asked.stage, asked.rows(count))
        last = schedule.heights[stage] - 1
        yield stage, last - count if schedule.descending else count
        done[stage] += 1
