from __future__ import annotations

from dataclasses import replace

from hypothesis import event, given, settings
from hypothesis import strategies as st

from footprint_compiler.errors import PlanError
from footprint_compiler.memory import MemoryPlan, explain, plan_memory, verify_plan
from footprint_compiler.program import Program

from .machine import run_with_plan, run_without_plan
from .programs import random_programs


@settings(max_examples=300)
@given(random_programs(), st.sampled_from([1, 8, 16, 64]))
def test_a_plan_keeps_every_value(program: Program, align: int) -> None:
    plan = plan_memory(program, align_bytes=align)
    assert run_with_plan(program, plan) == run_without_plan(program)
    sizes = [part.size_bytes for part in plan.placements.values()]
    assert plan.lower_bound_bytes <= plan.peak_bytes <= plan.arena_bytes
    assert plan.peak_bytes <= plan.naive_bytes + len(sizes) * plan.align_bytes
    assert plan.optimal == (plan.peak_bytes == plan.lower_bound_bytes)
    if align == 1 and plan.align_bytes == 1:
        assert plan.peak_bytes <= plan.naive_bytes
        assert max(explain(plan, program).live_bytes) <= plan.lower_bound_bytes
    assert plan == plan_memory(program, align_bytes=align)
    assert MemoryPlan.from_json(plan.to_json()) == plan


@settings(max_examples=300)
@given(random_programs(), st.data())
def test_what_the_verifier_lets_pass_keeps_every_value(
    program: Program, data: st.DataObject
) -> None:
    """Move one storage, or put one tensor on another's place: refused, or harmless."""
    plan = plan_memory(program, align_bytes=4)
    if not plan.storages:
        return
    located = program.storage_of()
    moved = data.draw(st.sampled_from(sorted(plan.placements)))
    root = located[moved][0] if moved in located else moved
    target = data.draw(st.sampled_from(sorted(plan.placements)))
    shift = plan.placements[target].offset_bytes - plan.placements[moved].offset_bytes
    placements = {
        name: replace(part, offset_bytes=part.offset_bytes + shift)
        if (located[name][0] if name in located else name) == root
        else part
        for name, part in plan.placements.items()
    }
    ends = [part.offset_bytes + part.size_bytes for part in placements.values() if part.size_bytes]
    peak = max(ends, default=0)
    mutant = replace(
        plan,
        placements=placements,
        peak_bytes=peak,
        arena_bytes=peak + -peak % plan.align_bytes,
        lower_bound_bytes=0,
        optimal=False,
    )
    try:
        verify_plan(program, mutant)
    except PlanError:
        event("refused")
        return
    event("passed")
    assert run_with_plan(program, mutant) == run_without_plan(program)
