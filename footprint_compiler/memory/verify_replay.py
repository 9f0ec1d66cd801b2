"""Replay of the calls on a picture of the arena: every read must find the bytes that it means.

The arena is cut into cells at every start and end of a placement, and a cell remembers which
tensor wrote it last. The owner of that tensor says what the bytes mean, as views lie where they
have to and no byte of a storage is written twice (the first is checked before, the second here).
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import combinations

import numpy as np

from footprint_compiler.errors import PlanError
from footprint_compiler.memory.plan import MemoryPlan, Placement
from footprint_compiler.memory.verify_rules import (
    Root,
    exactly_in_place,
    extent,
    refuse_overlap,
    scratch_names,
)
from footprint_compiler.memory.verify_segments import replay_segment
from footprint_compiler.program import Program


def replay_calls(program: Program, plan: MemoryPlan, roots: dict[str, Root]) -> None:
    """Raise PlanError at the first read that finds bytes of another tensor."""
    cuts = sorted({cut for name in plan.placements for cut in extent(plan, name)})
    writer = np.full(len(cuts), -1, np.int64)
    names = list(plan.placements)
    number = {name: index for index, name in enumerate(names)}
    owner = np.array([number[roots[name].name if name in roots else name] for name in names])

    def cells(name: str) -> slice:
        start, end = extent(plan, name)
        return slice(bisect_left(cuts, start), bisect_left(cuts, end))

    def read(name: str, who: str) -> None:
        found = writer[cells(name)]
        wrong = found[(found < 0) | (owner[found] != owner[number[name]])]
        if wrong.size == 0:
            return
        other = "nothing" if wrong[0] < 0 else repr(names[wrong[0]])
        raise PlanError(f"{who} reads {name!r}, but finds bytes of {other} there")

    def write(name: str) -> None:
        found = writer[cells(name)]
        again = found[(found >= 0) & (owner[found] == owner[number[name]])]
        if again.size:
            raise PlanError(f"{name!r} is written over {names[again[0]]!r}, its own storage")
        writer[cells(name)] = number[name]

    for spec in program.inputs:
        write(spec.name)
    for spec in program.inputs:
        read(spec.name, "the caller")
    for step, call in enumerate(program.calls):
        for name in call.inputs:
            if name not in program.constants:
                read(name, f"step {step} ({call.kernel})")
        _check_arguments(program, plan, step)
        if call.segment is not None:
            replay_segment(program, plan, roots, step)
        for name in (*call.outputs, *scratch_names(call, step)):
            write(name)
    for spec in program.outputs:
        read(spec.name, "the caller")


def _check_arguments(program: Program, plan: MemoryPlan, step: int) -> None:
    call = program.calls[step]
    written = [*call.outputs, *scratch_names(call, step)]
    for one, other in combinations(written, 2):
        if _share(plan.placements[one], plan.placements[other]):
            refuse_overlap(one, other)
    if call.segment is not None:  # what its outputs may share with inputs, the rows decide
        written = written[len(call.outputs) :]
    for output, name in enumerate(written):
        for input_, source in enumerate(call.inputs):
            if source in program.constants:
                continue
            if not _share(plan.placements[name], plan.placements[source]):
                continue
            if call.segment is not None or output >= len(call.outputs):
                refuse_overlap(name, source)
            if not exactly_in_place(program, plan, call, output, input_):
                refuse_overlap(name, source)


def _share(one: Placement, other: Placement) -> bool:
    start = max(one.offset_bytes, other.offset_bytes)
    end = min(one.offset_bytes + one.size_bytes, other.offset_bytes + other.size_bytes)
    return start < end
