from __future__ import annotations

from dataclasses import replace

from hypothesis import event, given, settings
from hypothesis import strategies as st

from footprint_compiler.errors import PlanError
from footprint_compiler.memory import MemoryPlan, plan_memory, verify_plan
from footprint_compiler.program import Program
from footprint_compiler.streaming.candidates import Candidates
from footprint_compiler.streaming.select import select_segments, with_segments

from .images import random_images
from .machine import at_once, in_arena

UNBOUNDED = float("inf")


@settings(max_examples=120)
@given(random_images(), st.sampled_from([1, 8]))
def test_a_streamed_program_computes_the_same(program: Program, align: int) -> None:
    streamed = select_segments(program, align, UNBOUNDED).program
    plan = plan_memory(streamed, align)
    plain = plan_memory(program, align)
    event(f"segments: {sum(call.segment is not None for call in streamed.calls)}")
    event(f"smaller: {plan.arena_bytes < plain.arena_bytes}")
    assert plan.arena_bytes <= plain.arena_bytes
    assert plan.lower_bound_bytes <= plan.peak_bytes
    assert in_arena(streamed, plan) == at_once(program)
    layers = [layer for call in streamed.calls for layer in call.layers]
    assert sorted(layers) == sorted(layer for call in program.calls for layer in call.layers)
    assert streamed.macs == program.macs


@settings(max_examples=120)
@given(random_images(), st.data())
def test_every_cut_computes_the_same(program: Program, data: st.DataObject) -> None:
    """Any cut, not only a good one."""
    streamed = _random_cut(program, data)
    assert in_arena(streamed, plan_memory(streamed, 1)) == at_once(program)


@settings(max_examples=120)
@given(random_images(), st.data())
def test_what_the_verifier_lets_pass_computes_the_same(
    program: Program, data: st.DataObject
) -> None:
    """Move one block, or shorten a ring: refused, or harmless."""
    streamed = _random_cut(program, data)
    plan = plan_memory(streamed, 1)
    mutant = _moved(plan, data)
    try:
        verify_plan(streamed, mutant)
    except PlanError:
        event("refused")
        return
    event("passed")
    assert in_arena(streamed, mutant) == at_once(program)


def _random_cut(program: Program, data: st.DataObject) -> Program:
    candidates = Candidates(program, 1)
    cut, at = [], 0
    while at < len(program.calls):
        options = [candidates.plain(at)]
        ends = range(at + 1, candidates.reach(at) + 1)
        options += [one for end in ends if (one := candidates.segment(at, end)) is not None]
        cut.append(data.draw(st.sampled_from(options[::-1])))
        at = cut[-1].end
    return with_segments(program, cut)


def _moved(plan: MemoryPlan, data: st.DataObject) -> MemoryPlan:
    """One storage somewhere else, near where it was or near another."""
    storage = data.draw(st.sampled_from(sorted(plan.storages)))
    owners = plan.storages[storage]
    before = plan.placements[owners[0]].offset_bytes
    other = plan.placements[data.draw(st.sampled_from(sorted(plan.placements)))].offset_bytes
    near = data.draw(st.sampled_from([before, other]))
    offset = max(0, near + data.draw(st.integers(-6, 6)))
    placements = {
        name: replace(part, offset_bytes=part.offset_bytes + offset - before)
        if name in owners
        else part
        for name, part in plan.placements.items()
    }
    ends = [part.offset_bytes + part.size_bytes for part in placements.values() if part.size_bytes]
    peak = max(ends, default=0)
    return replace(
        plan,
        placements=placements,
        peak_bytes=peak,
        arena_bytes=peak + -peak % plan.align_bytes,
        lower_bound_bytes=0,
        optimal=False,
    )
