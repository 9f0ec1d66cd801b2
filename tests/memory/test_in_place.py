"""Each rule of in-place sharing with the case that is taken and its twin that is not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from footprint_compiler.memory import plan_memory
from footprint_compiler.program import KernelCall, Program, View

from .machine import run_with_plan, run_without_plan
from .programs import call, program, tensor

SPECS = [tensor(name, 8) for name in "xabcdy"]
PAIR = [(0, 0)]


def chain(
    calls: Sequence[KernelCall],
    outputs: str = "y",
    views: Sequence[View] = (),
    more: Sequence[str] = (),
) -> Program:
    """A program over those of x, a, b, c, d, y (8 bytes each) that its calls name."""
    used = {name for one in calls for name in (*one.inputs, *one.outputs)} | set(more)
    specs = [spec for spec in SPECS if spec.name in used]
    return program(specs, "x", outputs, calls, views, constants="w")


def shared(model: Program) -> list[tuple[str, ...]]:
    plan = plan_memory(model)
    assert run_with_plan(model, plan) == run_without_plan(model)
    return [owners for owners in plan.storages.values() if len(owners) > 1]


def test_an_input_that_dies_is_taken_over() -> None:
    model = chain([call("x", "a"), call("a", "y", PAIR)])
    assert shared(model) == [("a", "y")]


def test_a_chain_shares_one_storage_from_input_to_output() -> None:
    model = chain([call("x", "a", PAIR), call("a", "b", PAIR), call("b", "y", PAIR)])
    plan = plan_memory(model)
    assert plan.storages == {"x": ("x", "a", "b", "y")}
    assert plan.peak_bytes == plan.lower_bound_bytes == 8
    assert plan.naive_bytes == 32
    assert run_with_plan(model, plan) == run_without_plan(model)


def test_an_output_with_fewer_elements_takes_over_the_beginning() -> None:
    specs = [tensor("x", 8), tensor("a", 8), tensor("y", 7)]
    model = program(specs, "x", "y", [call("x", "a"), call("a", "y", PAIR)])
    assert shared(model) == [("a", "y")]
    plan = plan_memory(model, 1)
    assert plan.placements["y"].offset_bytes == plan.placements["a"].offset_bytes
    assert plan.naive_bytes == 23


DECLINED = {
    "no pair offered": chain([call("x", "a"), call("a", "y")]),
    "read later": chain([call("x", "a"), call("a", "b", PAIR), call("a b", "y")]),
    "constant": chain([call("x", "a"), call("w", "y", PAIR)]),
    "returned": chain([call("x", "a"), call("a", "y", PAIR)], outputs="y a"),
    "returned as a view": chain(
        [call("x", "a"), call("a", "y", PAIR)], "y b", [View("b", "a")], more="b"
    ),
    "given twice": chain([call("x", "a"), call("a a", "y", PAIR)]),
    "given twice, both offered": chain([call("x", "a"), call("a a", "y", [(0, 0), (0, 1)])]),
    "also given as a view": chain([call("x", "a"), call("a b", "y", PAIR)], views=[View("b", "a")]),
    "a view of it is read later": chain(
        [call("x", "a"), call("a", "c", PAIR), call("b c", "y")], views=[View("b", "a")]
    ),
    "narrower elements": program(
        [tensor("x", 8), tensor("a", 2, "float32"), tensor("y", 8)],
        "x",
        "y",
        [call("x", "a"), call("a", "y", PAIR)],
    ),
    "more elements": program(
        [tensor("x", 8), tensor("a", 7), tensor("y", 8)],
        "x",
        "y",
        [call("x", "a"), call("a", "y", PAIR)],
    ),
    "a slice of a storage": program(
        [tensor("x", 8), tensor("a", 16), tensor("v", 8), tensor("y", 8)],
        "x",
        "y",
        [call("x", "a"), call("v", "y", PAIR)],
        [View("v", "a", 8)],
    ),
    "a part of a joined storage": program(
        [tensor("x", 8), tensor("j", 16), tensor("p", 8), tensor("q", 8)],
        "x",
        "j",
        [call("", "p"), call("x", "q", PAIR)],
        [View("p", "j", 0), View("q", "j", 8)],
    ),
    "a storage of which an empty part is older": program(
        [tensor("x", 8), tensor("j", 8), tensor("p", 0), tensor("q", 8)],
        "x",
        "j",
        [call("", "p"), call("x", "q", PAIR)],
        [View("p", "j", 0), View("q", "j", 0)],
    ),
}


@pytest.mark.parametrize("name", DECLINED)
def test_declined(name: str) -> None:
    assert shared(DECLINED[name]) == []


def test_a_view_of_all_of_a_storage_is_as_good_as_its_owner() -> None:
    calls = [call("x", "a"), call("b", "c", PAIR), call("d", "y", PAIR)]
    model = chain(calls, views=[View("b", "a"), View("d", "c")])
    assert shared(model) == [("a", "c", "y")]


def test_one_input_goes_to_one_output_only() -> None:
    model = chain([call("x", "a"), call("a", "b c", [(0, 0), (1, 0)]), call("b c", "y")])
    assert shared(model) == [("a", "b")]


def test_one_output_takes_one_input_only() -> None:
    calls = [call("x", "a"), call("x", "b"), call("a b", "y", [(0, 0), (0, 1)])]
    assert shared(chain(calls)) == [("a", "y")]


def test_the_second_pair_is_taken_when_the_first_is_not_sound() -> None:
    calls = [call("x", "a"), call("x", "b"), call("a b", "c", [(0, 0), (0, 1)]), call("a c", "y")]
    assert shared(chain(calls)) == [("b", "c")]


def test_two_outputs_take_two_inputs() -> None:
    calls = [
        call("x", "a"),
        call("x", "b"),
        call("a b", "c d", [(0, 1), (1, 0)]),
        call("c d", "y"),
    ]
    assert shared(chain(calls)) == [("a", "d"), ("b", "c")]


def test_a_pair_named_twice_is_taken_once() -> None:
    model = chain([call("x", "a"), call("a", "y", [(0, 0), (0, 0)])])
    assert shared(model) == [("a", "y")]


def test_two_inputs_of_the_model_are_not_merged_through_one_output() -> None:
    specs = [tensor(name, 8) for name in "abyz"]
    calls = [call("a b", "y", [(0, 0), (0, 1)]), call("y", "z")]
    model = program(specs, "a b", "z", calls)
    assert shared(model) == [("a", "y")]
