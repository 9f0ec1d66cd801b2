"""Pairs of storages that a step lets share bytes beyond being computed in place.

A call's ``overlaps`` become gaps of the planning problem where both tensors are all of their
storage, the source dies at the step and is not returned, the result is born there, and no other
argument of the call lies in either.
"""

from __future__ import annotations

from collections.abc import Sequence

from footprint_compiler.memory.live_ranges import Storage
from footprint_compiler.memory.problem import Gap
from footprint_compiler.memory.storages import Location
from footprint_compiler.program import KernelCall, Overlap, Program


def find_gaps(
    program: Program, storages: Sequence[Storage], locations: dict[str, Location]
) -> tuple[Gap, ...]:
    """Two gaps for each pair: one for rows computed upwards, one for downwards."""
    number = {owner: index for index, one in enumerate(storages) for owner in one.owners}
    returned = {number[locations[spec.name].storage] for spec in program.outputs}
    gaps: list[Gap] = []
    for step, call in enumerate(program.calls):
        for pair in call.overlaps:
            source, result = call.inputs[pair.input], call.outputs[pair.output]
            if not _whole(program, locations, source) or not _whole(program, locations, result):
                continue
            low, high = (number[locations[name].storage] for name in (result, source))
            born, dead = storages[low].first_step == step, storages[high].end_step == step + 1
            if low == high or high in returned or not (born and dead):
                continue
            if _others(call, pair, locations, number) & {low, high}:
                continue
            gaps += [Gap(low, high, -pair.below), Gap(high, low, pair.above)]
    return tuple(gaps)


def _whole(program: Program, locations: dict[str, Location], name: str) -> bool:
    if name not in locations:
        return False
    size = program.tensors[name].size_bytes
    return size == program.tensors[locations[name].storage].size_bytes > 0


def _others(
    call: KernelCall, pair: Overlap, locations: dict[str, Location], number: dict[str, int]
) -> set[int]:
    """Storages of all other arguments of the call."""
    names = [name for at, name in enumerate(call.inputs) if at != pair.input]
    names += [name for at, name in enumerate(call.outputs) if at != pair.output]
    return {number[locations[name].storage] for name in names if name in locations}
