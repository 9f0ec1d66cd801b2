from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import event, given, settings

from footprint_compiler.memory import find_order, plan_memory, reorder, verify_plan, with_order
from footprint_compiler.memory.order import least_order
from footprint_compiler.memory.order_costs import OrderCosts
from footprint_compiler.program import Program, Scratch, View

from .machine import run_with_plan, run_without_plan
from .programs import call, program, random_programs, tensor


def valid_orders(one: Program) -> list[tuple[int, ...]]:
    needs = [step.needs for step in OrderCosts(one, 1).steps]
    found = []
    for order in permutations(range(len(needs))):
        done = 0
        for index in order:
            if needs[index] & ~done:
                break
            done |= 1 << index
        else:
            found.append(order)
    return found


def two_branches() -> Program:
    """x -> big a -> small b and x -> big c -> small d, joined; the big ones come first."""
    return program(
        [
            tensor(name, size)
            for name, size in zip("xabcdy", (10, 100, 10, 100, 10, 10), strict=True)
        ],
        "x",
        "y",
        [call("x", "a"), call("x", "c"), call("a", "b"), call("c", "d"), call("b d", "y")],
    )


def test_one_branch_after_the_other() -> None:
    one = two_branches()
    assert plan_memory(one, 1).peak_bytes == 10 + 100 + 100
    better = reorder(one, 1)
    assert [step.outputs[0] for step in better.calls] in (list("abcdy"), list("cdaby"))
    assert plan_memory(better, 1).peak_bytes == 120


def test_the_branch_that_leaves_less_goes_first() -> None:
    """Leaving 50 behind under a peak of 100 is worse than leaving 10 under a peak of 110."""
    one = program(
        [tensor(n, s) for n, s in zip("xabcdy", (1, 100, 10, 60, 50, 1), strict=True)],
        "x",
        "y",
        [call("x", "c"), call("c", "d"), call("x", "a"), call("a", "b"), call("b d", "y")],
    )
    assert plan_memory(one, 1).peak_bytes == 50 + 100 + 10
    assert plan_memory(reorder(one, 1), 1).peak_bytes == 10 + 60 + 50


def test_scratch_runs_while_little_is_live() -> None:
    one = program(
        [tensor(n, s) for n, s in zip("xaby", (4, 40, 4, 4), strict=True)],
        "x",
        "y",
        [call("x", "a"), call("x", "b", scratch=[Scratch(64, 1)]), call("a b", "y")],
    )
    assert find_order(one, 1) == (1, 0, 2)
    assert plan_memory(reorder(one, 1), 1).peak_bytes == 4 + 4 + 64


def test_in_place_saves_only_where_the_source_dies() -> None:
    """r is computed in place of a only after s, the other reader of a."""
    one = program(
        [tensor(n, s) for n, s in zip("xarsy", (1, 100, 100, 2, 1), strict=True)],
        "x",
        "y",
        [call("x", "a"), call("a", "r", [(0, 0)]), call("a", "s"), call("r s", "y")],
    )
    assert find_order(one, 1) == (0, 2, 1, 3)
    assert plan_memory(one, 1).peak_bytes == 202
    assert plan_memory(reorder(one, 1), 1).peak_bytes == 103


def test_parts_of_a_concatenation_wait_for_each_other() -> None:
    """A joined storage is live from its first part: other work goes before it."""
    names = {"x": 4, "p": 80, "q": 4, "joined": 60, "left": 30, "right": 30, "y": 4}
    one = program(
        [tensor(name, size) for name, size in names.items()],
        "x",
        "y",
        [
            call("x", "left"),
            call("x", "p"),
            call("p", "q"),
            call("q", "right"),
            call("joined", "y"),
        ],
        [View("left", "joined", 0), View("right", "joined", 30)],
    )
    better = reorder(one, 1)
    assert [step.outputs[0] for step in better.calls] == ["p", "q", "left", "right", "y"]
    assert plan_memory(one, 1).peak_bytes == 60 + 80 + 4
    assert plan_memory(better, 1).peak_bytes == 4 + 80 + 4


@pytest.mark.parametrize("states", [1000, 1, 60])
def test_wide_graphs_also_by_beam(states: int) -> None:
    """Twelve branches, all begun before any is finished: 12 large tensors, where one would do."""
    wide = 12
    tensors = [tensor("x", 1), tensor("y", 1)]
    begin, finish = [], []
    for index in range(wide):
        tensors += [tensor(f"a{index}", 1000), tensor(f"b{index}", 1)]
        begin.append(call("x", f"a{index}"))
        finish.append(call(f"a{index}", f"b{index}"))
    last = call(" ".join(f"b{index}" for index in range(wide)), "y")
    one = program(tensors, "x", "y", [*begin, *finish, last])
    order = least_order(OrderCosts(one, 1), states)
    assert plan_memory(with_order(one, order), 1).peak_bytes == 1000 + wide
    assert least_order(OrderCosts(one, 1), states) == order


def test_a_chain_is_left_alone() -> None:
    one = program(
        [tensor(f"t{index}", 10 + index % 7) for index in range(300)],
        "t0",
        "t299",
        [call(f"t{index}", f"t{index + 1}") for index in range(299)],
    )
    assert reorder(one, 1, states=0) == one
    assert reorder(one, 1).calls == one.calls


@settings(max_examples=100)
@given(random_programs())
def test_a_reordered_program_computes_the_same(one: Program) -> None:
    better = reorder(one, 8)
    if better.calls != one.calls:
        event("reordered")
    plan = plan_memory(better, 8)
    verify_plan(better, plan)
    assert plan.peak_bytes <= plan_memory(one, 8).peak_bytes
    assert run_with_plan(better, plan) == run_without_plan(one)
    assert reorder(one, 8) == better


@settings(max_examples=150)
@given(random_programs())
def test_exact_order_equals_the_best_of_all_orders(one: Program) -> None:
    if len(one.calls) > 6:
        return
    costs = OrderCosts(one, 1)
    peaks = {costs.peak(list(order)) for order in valid_orders(one)}
    assert costs.peak(least_order(costs)) == min(peaks)
    assert costs.least_peak() <= min(peaks)


@settings(max_examples=60)
@given(random_programs())
def test_any_valid_order_keeps_every_value(one: Program) -> None:
    orders = valid_orders(one) if len(one.calls) <= 6 else []
    for order in orders[:: max(1, len(orders) // 4)]:
        other = with_order(one, order)
        assert run_with_plan(other, plan_memory(other, 4)) == run_without_plan(one)
