"""Storages in several memories: hot ones in the fast one, each within its capacity."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from footprint_compiler.errors import BudgetError, PlanError
from footprint_compiler.memory import MemoryPlan, plan_memory, verify_plan
from footprint_compiler.memory.live_ranges import live_storages
from footprint_compiler.memory.pools import (
    PlanPool,
    assign,
    plan_in_pools,
    storage_traffic,
)
from footprint_compiler.program import Program, Scratch

from .machine import run_with_plan, run_without_plan
from .programs import call, program, random_programs, tensor

SLOW = PlanPool("sram", 10**6, 1.0, 1.0)


def fast(capacity_bytes: int) -> PlanPool:
    return PlanPool("dtcm", capacity_bytes, 0.25, 0.25)


# b is read three times, a once; scratch is live with both.
MODEL = program(
    [tensor(name, 64) for name in "xabcdy"],
    "x",
    "y",
    [
        call("x", "a"),
        call("a", "b", scratch=[Scratch(16, 8)]),
        call("b", "c"),
        call("b c", "d"),
        call("b d", "y"),
    ],
)


def pool_of(plan: MemoryPlan) -> dict[str, str]:
    return {name: part.pool for name, part in plan.placements.items()}


def laid_end_to_end(plan: MemoryPlan) -> MemoryPlan:
    """One arena out of several, for the machine of these tests."""
    base, start = {}, 0
    for pool, size in plan.arenas.items():
        base[pool], start = start, start + size
    parts = {
        name: replace(part, offset_bytes=part.offset_bytes + base[part.pool])
        for name, part in plan.placements.items()
    }
    return replace(plan, placements=parts, arena_bytes=start)


def test_the_hottest_tensor_gets_the_fast_memory() -> None:
    plan = plan_in_pools(MODEL, [SLOW, fast(64)], align_bytes=8)
    pools = pool_of(plan)
    assert {name for name, pool in pools.items() if pool == "dtcm"} == {"b"}
    assert plan.arenas == {"sram": plan.arena_bytes, "dtcm": 64}
    assert (pools["x"], pools["y"]) == ("sram", "sram")


def test_what_takes_turns_shares_the_fast_memory() -> None:
    plan = plan_in_pools(MODEL, [SLOW, fast(128)], align_bytes=8)
    # b beside a and then c; d is live with both.
    assert {n for n, pool in pool_of(plan).items() if pool == "dtcm"} == {"a", "b", "c"}
    assert plan.arenas["dtcm"] == 128
    plan = plan_in_pools(MODEL, [SLOW, fast(144)], align_bytes=8)
    assert pool_of(plan)["scratch:1:0"] == "dtcm"


def test_a_plan_that_needs_one_pool_is_an_ordinary_one() -> None:
    assert plan_in_pools(MODEL, [SLOW, fast(8)], align_bytes=8) == plan_memory(MODEL, 8, "sram")
    slow = replace(fast(1000), read_cycles=9.0)
    assert plan_in_pools(MODEL, [SLOW, slow], align_bytes=8) == plan_memory(MODEL, 8, "sram")


def test_the_first_pool_holds_inputs_and_outputs_even_if_it_is_the_fast_one() -> None:
    plan = plan_in_pools(MODEL, [fast(64), SLOW], align_bytes=8)
    assert next(iter(plan.arenas)) == "dtcm"
    pools = pool_of(plan)
    assert (pools["x"], pools["y"], pools["b"]) == ("dtcm", "dtcm", "sram")


def test_three_pools() -> None:
    middle = PlanPool("dram", 64, 0.5, 0.5)
    plan = plan_in_pools(MODEL, [SLOW, fast(64), middle], align_bytes=8)
    pools = pool_of(plan)
    assert pools["b"] == "dtcm"
    assert {pools[name] for name in "ac"} == {"dram"}
    assert pools["d"] == "sram"


def test_what_fits_nowhere_is_refused_with_its_size() -> None:
    small = replace(SLOW, capacity_bytes=128)
    with pytest.raises(BudgetError, match=r"the pool sram has 128 B for the arena, and 192 B"):
        plan_in_pools(MODEL, [small, fast(8)], align_bytes=8)
    with pytest.raises(BudgetError, match="inputs and outputs do not fit"):
        plan_in_pools(MODEL, [fast(60), SLOW], align_bytes=8)


def saving_of(chosen: list[str], program: Program, pools: list[PlanPool]) -> float:
    storages = live_storages(program, 8)
    cost = {pool.name: pool for pool in pools}
    traffic = storage_traffic(program, storages)
    return -sum(t.cycles(cost[name]) for t, name in zip(traffic, chosen, strict=True))


@settings(max_examples=30)
@given(random_programs(), st.integers(1, 200))
def test_no_subset_of_a_few_storages_saves_more(program: Program, capacity: int) -> None:
    storages = live_storages(program, 8)
    assume(len(storages) <= 7)
    pools = [SLOW, fast(capacity)]
    traffic = storage_traffic(program, storages)
    located = program.storage_of()
    fixed = {located[spec.name][0] for spec in (*program.inputs, *program.outputs)}
    pinned = frozenset(i for i, one in enumerate(storages) if fixed.intersection(one.owners))
    chosen = assign(storages, traffic, (), pinned, pools)
    free = [i for i, one in enumerate(storages) if i not in pinned and one.size_bytes]

    def height(names: list[str]) -> int:
        # The largest sum of live bytes: no plan of this subset can be lower.
        steps = max((storage.end_step for storage in storages), default=1)
        return max(
            sum(
                storage.size_bytes
                for storage, name in zip(storages, names, strict=True)
                if name == "dtcm" and storage.first_step <= step < storage.end_step
            )
            for step in range(steps)
        )

    assert height(chosen) <= capacity
    reached = saving_of(chosen, program, pools)
    for count in range(len(free) + 1):
        for subset in combinations(free, count):
            names = ["dtcm" if i in subset else "sram" for i in range(len(storages))]
            if saving_of(names, program, pools) > reached + 1e-9:
                event("better by live bytes")
                # Only alignment or fragmentation may stand in the way of it.
                assert height(names) > capacity - 8 * len(subset)


@settings(max_examples=50)
@given(random_programs(), st.integers(0, 300), st.sampled_from([1, 16]))
def test_a_plan_over_pools_keeps_every_value(program: Program, capacity: int, align: int) -> None:
    plan = plan_in_pools(program, [SLOW, fast(capacity)], align_bytes=align)
    assert MemoryPlan.from_json(plan.to_json()) == plan
    assert plan == plan_in_pools(program, [SLOW, fast(capacity)], align_bytes=align)
    if not plan.arenas:
        event("one arena")
        assert run_with_plan(program, plan) == run_without_plan(program)
        return
    tops = [
        part.offset_bytes + part.size_bytes
        for part in plan.placements.values()
        if part.pool == "dtcm"
    ]
    assert max(tops) <= capacity
    assert run_with_plan(program, laid_end_to_end(plan)) == run_without_plan(program)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"arenas": {"sram": 128, "dtcm": 32}}, "dtcm has 32 bytes for 64"),
        ({"arenas": {"sram": 128}}, "placements in"),
        ({"arenas": {"dtcm": 64, "sram": 128}}, "the arena of dtcm has 64 B"),
        ({"peak_bytes": 100}, "the peak in sram is"),
    ],
)
def test_the_verifier_checks_every_arena(change: dict[str, object], words: str) -> None:
    plan = plan_in_pools(MODEL, [SLOW, fast(64)], align_bytes=8)
    verify_plan(MODEL, plan)
    with pytest.raises(PlanError, match=words):
        verify_plan(MODEL, replace(plan, **change))


def test_the_verifier_sees_collisions_in_the_second_arena_and_moved_outputs() -> None:
    plan = plan_in_pools(MODEL, [SLOW, fast(128)], align_bytes=8)
    moved = {**plan.placements, "c": replace(plan.placements["c"], offset_bytes=0)}
    moved["b"] = replace(plan.placements["b"], offset_bytes=0)
    with pytest.raises(PlanError):
        verify_plan(MODEL, replace(plan, placements=moved))
    swapped = {**plan.placements, "y": replace(plan.placements["y"], pool="dtcm")}
    with pytest.raises(PlanError, match="'y' is not in the pool sram"):
        verify_plan(MODEL, replace(plan, placements=swapped))
