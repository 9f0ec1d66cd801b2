"""Checks the arenas of a plan over several pools, and lays them end to end.

Laid end to end, the arenas are one, on which every other rule of the verifier holds as it is.
"""

from __future__ import annotations

from dataclasses import replace

from footprint_compiler.errors import PlanError
from footprint_compiler.memory.plan import MemoryPlan
from footprint_compiler.program import Program


def end_to_end(program: Program, plan: MemoryPlan) -> MemoryPlan:
    """The same plan in one arena.

    Raises:
        PlanError: a pool is stated wrong, a placement leaves its arena, inputs or outputs of the
            model are not in the first one.
    """
    pools = {part.pool for part in plan.placements.values()}
    if pools != set(plan.arenas):
        raise PlanError(f"placements in {sorted(pools)}, arenas in {sorted(plan.arenas)}")
    first = next(iter(plan.arenas))
    if plan.arenas[first] != plan.arena_bytes:
        raise PlanError(f"the arena of {first} has {plan.arenas[first]} B, not {plan.arena_bytes}")
    for spec in (*program.inputs, *program.outputs):
        if plan.placements[spec.name].pool != first:
            raise PlanError(f"{spec.name!r} is not in the pool {first}")
    top = _tops(plan)
    if top[first] != plan.peak_bytes:
        raise PlanError(f"the peak in {first} is {top[first]} bytes, not {plan.peak_bytes}")
    start, base = 0, {}
    for pool, size_bytes in plan.arenas.items():
        if size_bytes % plan.align_bytes or size_bytes < top[pool]:
            raise PlanError(f"the arena of {pool} has {size_bytes} bytes for {top[pool]}")
        base[pool], start = start, start + size_bytes
    placements = {
        name: replace(part, pool="", offset_bytes=part.offset_bytes + base[part.pool])
        for name, part in plan.placements.items()
    }
    ends = [part.offset_bytes + part.size_bytes for part in placements.values() if part.size_bytes]
    return replace(
        plan,
        placements=placements,
        arena_bytes=start,
        peak_bytes=max(ends, default=0),
        lower_bound_bytes=0,
        optimal=False,
        arenas={},
    )


def _tops(plan: MemoryPlan) -> dict[str, int]:
    """Highest byte used in each pool; no placement begins before its arena."""
    top = dict.fromkeys(plan.arenas, 0)
    for name, part in plan.placements.items():
        if part.offset_bytes < 0:
            raise PlanError(f"{name!r} is not inside the arena of {part.pool}")
        if part.size_bytes:
            top[part.pool] = max(top[part.pool], part.offset_bytes + part.size_bytes)
    return top
