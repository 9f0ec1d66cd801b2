"""The plan without any idea: every tensor and scratch block has bytes of its own for good."""

from __future__ import annotations

from dataclasses import replace

from footprint_compiler.memory import MemoryPlan, Placement, verify_plan
from footprint_compiler.memory.storages import locate_tensors
from footprint_compiler.program import Program

ALIGN = 64


def naive_plan(program: Program, pool: str = "sram") -> MemoryPlan:
    """Verified like any other."""
    apart = replace(
        program, calls=tuple(replace(call, in_place=(), overlaps=()) for call in program.calls)
    )
    locations = locate_tensors(apart)
    steps = max(len(apart.calls), 1)
    sizes = {
        location.storage: program.tensors[location.storage].size_bytes
        for location in locations.values()
    }
    sizes |= {
        f"scratch:{step}:{index}": block.size_bytes
        for step, call in enumerate(apart.calls)
        for index, block in enumerate(call.scratch)
    }
    starts, top = {}, 0
    for name, size in sizes.items():
        starts[name] = top
        top += size + -size % ALIGN
    placements = {
        name: Placement(
            pool,
            starts[place.storage] + place.offset_bytes,
            place.end_bytes - place.offset_bytes,
            0,
            steps,
        )
        for name, place in locations.items()
    }
    placements |= {
        name: Placement(pool, starts[name], size, 0, steps)
        for name, size in sizes.items()
        if name not in placements
    }
    ends = [one.offset_bytes + one.size_bytes for one in placements.values() if one.size_bytes]
    peak = max(ends, default=0)
    plan = MemoryPlan(
        placements=placements,
        arena_bytes=peak + -peak % ALIGN,
        align_bytes=ALIGN,
        peak_bytes=peak,
        lower_bound_bytes=0,
        naive_bytes=peak,
        live_at_peak=(),
        planner="naive",
        optimal=False,
        storages={name: (name,) for name in sizes},
        tensor_align_bytes=ALIGN,
    )
    verify_plan(apart, plan)
    return plan
