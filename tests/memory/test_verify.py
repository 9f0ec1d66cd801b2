"""The verifier must catch every kind of broken plan; each case breaks one sound plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from footprint_compiler.errors import PlanError
from footprint_compiler.memory import (
    Buffer,
    MemoryPlan,
    Problem,
    Solution,
    plan_memory,
    verify_plan,
    verify_solution,
)
from footprint_compiler.memory.verify_geometry import check_geometry
from footprint_compiler.memory.verify_replay import replay_calls
from footprint_compiler.memory.verify_rules import Root, find_roots
from footprint_compiler.program import Program, Scratch, View
from footprint_compiler.tensor import TensorSpec

from .programs import call, program, tensor

# x -> a -> r (in place) -> y, a skip from x to y, r sliced into v, scratch at step 1, and an
# early second output e.
MODEL = program(
    [tensor(name, 64) for name in "xare"] + [tensor("v", 16), tensor("y", 16), tensor("u", 32)],
    "x u",
    "y e",
    [
        call("x", "a", kernel="conv"),
        call("x", "e", scratch=[Scratch(48, 32), Scratch(8, 4)], kernel="early"),
        call("a", "r", in_place=[(0, 0)], kernel="relu"),
        call("v x", "y", kernel="add"),
    ],
    [View("v", "r", 32)],
)
PLAN = plan_memory(MODEL)


def move(name: str, offset: int) -> MemoryPlan:
    """The plan with one placement elsewhere, and a peak that agrees with it."""
    part = replace(PLAN.placements[name], offset_bytes=offset)
    placements = {**PLAN.placements, name: part}
    peak = max(part.offset_bytes + part.size_bytes for part in placements.values())
    arena = peak + -peak % PLAN.align_bytes
    return replace(
        PLAN,
        placements=placements,
        peak_bytes=peak,
        arena_bytes=arena,
        lower_bound_bytes=0,
        optimal=False,
    )


def onto(name: str, other: str) -> MemoryPlan:
    return move(name, PLAN.placements[other].offset_bytes)


def stated(name: str, first: int, end: int) -> MemoryPlan:
    part = replace(PLAN.placements[name], first_step=first, end_step=end)
    return replace(PLAN, placements={**PLAN.placements, name: part})


def without(name: str) -> MemoryPlan:
    rest = {key: part for key, part in PLAN.placements.items() if key != name}
    return replace(PLAN, placements=rest)


def resized(name: str, size: int) -> MemoryPlan:
    part = replace(PLAN.placements[name], size_bytes=size)
    return replace(PLAN, placements={**PLAN.placements, name: part})


def in_pool(name: str, pool: str) -> MemoryPlan:
    part = replace(PLAN.placements[name], pool=pool)
    return replace(PLAN, placements={**PLAN.placements, name: part})


BROKEN: dict[str, tuple[Callable[[], MemoryPlan], str]] = {
    "two inputs overlap": (lambda: onto("u", "x"), "'x' and 'u' are live at once"),
    "output on a tensor still to be read": (lambda: onto("e", "x"), "'x' and 'e' are live"),
    "two outputs overlap": (lambda: onto("y", "e"), "'e' and 'y' are live"),
    "scratch on an argument": (
        lambda: onto("scratch:1:0", "x"),
        "'x' and 'scratch:1:0' are live",
    ),
    "scratch on a bystander": (
        lambda: onto("scratch:1:0", "a"),
        "'a' and 'scratch:1:0' are live",
    ),
    "scratch on scratch": (
        lambda: onto("scratch:1:1", "scratch:1:0"),
        "'scratch:1:0' and 'scratch:1:1' are live",
    ),
    "partial overlap": (
        lambda: move("e", PLAN.placements["x"].offset_bytes + 48),
        "'x' and 'e' are live|'e' and .* are live",
    ),
    "negative offset": (lambda: move("u", -16), "'u' is not inside the arena"),
    "beyond the arena": (
        lambda: replace(move("e", 4096), arena_bytes=PLAN.arena_bytes),
        "'e' is not inside the arena",
    ),
    "unaligned tensor": (lambda: move("e", 4096 + 8), "'e' is not aligned to 16"),
    "unaligned scratch": (lambda: move("scratch:1:0", 4096 + 16), "is not aligned to 32"),
    "view outside its base": (
        lambda: move("v", PLAN.placements["r"].offset_bytes + 56),
        "the view 'v' is not inside its base 'r'",
    ),
    "view before its base": (lambda: move("r", PLAN.placements["v"].offset_bytes + 16), "'v'"),
    "view elsewhere in its base": (
        lambda: move("v", PLAN.placements["r"].offset_bytes + 16),
        "the view 'v' is not where it has to be inside 'r'",
    ),
    "tensor missing": (lambda: without("a"), "'a' is in the program or in the plan"),
    "scratch missing": (lambda: without("scratch:1:1"), "'scratch:1:1' is in the program or"),
    "tensor unknown": (
        lambda: replace(PLAN, placements={**PLAN.placements, "z": PLAN.placements["x"]}),
        "'z' is in the program or",
    ),
    "tensor too small": (lambda: resized("x", 63), "'x' has 64 bytes, not 63"),
    "scratch too small": (lambda: resized("scratch:1:0", 47), "has 48 bytes, not 47"),
    "two pools": (lambda: in_pool("x", "dtcm"), "dtcm, sram"),
    "range ends too early": (lambda: stated("x", 0, 3), r"'x' is stated live in \[0, 3\)"),
    "range begins too late": (lambda: stated("a", 1, 3), r"'a' is stated live in \[1, 3\)"),
    "range of an output ends early": (lambda: stated("e", 1, 3), r"needed in \[3, 4\)"),
    "range of an owner ignores its view": (lambda: stated("r", 2, 3), r"'v' is stated live"),
    "range of an input begins late": (lambda: stated("u", 1, 2), r"'u' is stated live"),
    "range of an input goes on after the output took it over": (
        lambda: stated("a", 0, 4),
        "'a' and 'r' are live at once",
    ),
    "range of scratch": (lambda: stated("scratch:1:0", 0, 1), "'scratch:1:0' is stated live"),
    "peak too low": (lambda: replace(PLAN, peak_bytes=PLAN.peak_bytes - 1), "the peak is"),
    "peak too high": (lambda: replace(PLAN, peak_bytes=PLAN.peak_bytes + 1), "the peak is"),
    "arena too small": (lambda: replace(PLAN, arena_bytes=PLAN.peak_bytes - 1), "not inside"),
    "arena not aligned": (lambda: replace(PLAN, arena_bytes=PLAN.arena_bytes + 1), "not aligned"),
    "alignment of the arena too small": (
        lambda: replace(PLAN, align_bytes=16),
        "'scratch:1:0' is not aligned to 32",
    ),
    "lower bound above the peak": (
        lambda: replace(PLAN, lower_bound_bytes=PLAN.peak_bytes + 1),
        "above the peak",
    ),
    "called optimal": (
        lambda: replace(PLAN, lower_bound_bytes=PLAN.peak_bytes - 1, optimal=True),
        "called optimal",
    ),
    "storage missing": (
        lambda: replace(PLAN, storages={"x": ("x",)}),
        "not in exactly one storage",
    ),
    "owner in two storages": (
        lambda: replace(PLAN, storages={**PLAN.storages, "z": ("x",)}),
        "not in exactly one storage",
    ),
}


def test_the_unbroken_plan_passes() -> None:
    verify_plan(MODEL, PLAN)
    assert PLAN.storages["a"] == ("a", "r")


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plan_is_refused(name: str) -> None:
    mutate, message = BROKEN[name]
    with pytest.raises(PlanError, match=message):
        verify_plan(MODEL, mutate())


Rule = Callable[[Program, MemoryPlan, dict[str, Root]], None]
OVERLAPS = {
    name: mutate
    for name, (mutate, message) in BROKEN.items()
    if "are live" in message and not name.startswith(("partial", "range"))
}


@pytest.mark.parametrize("name", OVERLAPS)
@pytest.mark.parametrize("rule", [check_geometry, replay_calls])
def test_each_of_the_two_rules_catches_an_overlap_alone(name: str, rule: Rule) -> None:
    with pytest.raises(PlanError):
        rule(MODEL, OVERLAPS[name](), find_roots(MODEL))


def verify_after_change(
    pairs: list[tuple[int, int]], last: str, changed: TensorSpec | None = None
) -> None:
    """Plan x -> a -> b -> y with b in place of a, then verify it for a program that differs."""

    def model(pairs: list[tuple[int, int]], last: str, b: TensorSpec) -> Program:
        calls = [call("x", "a"), call("a", "b", pairs), call(last, "y")]
        return program([tensor("x", 8), tensor("a", 8), b, tensor("y", 8)], "x", "y", calls)

    plan = plan_memory(model([(0, 0)], "b", tensor("b", 8)))
    assert plan.storages["a"] == ("a", "b")
    verify_plan(model(pairs, last, changed or tensor("b", 8)), plan)


def test_in_place_needs_the_pair() -> None:
    verify_after_change([(0, 0)], "b")
    with pytest.raises(PlanError, match="'a' and 'b' are live at once"):
        verify_after_change([], "b")


def test_the_replay_alone_asks_for_the_pair_too() -> None:
    specs = [tensor("x", 8), tensor("y", 8)]
    plan = plan_memory(program(specs, "x", "y", [call("x", "y", [(0, 0)])]))
    other = program(specs, "x", "y", [call("x", "y")])
    with pytest.raises(PlanError, match="'y' and 'x' are live at once"):
        replay_calls(other, plan, find_roots(other))


def test_in_place_needs_a_dying_input() -> None:
    with pytest.raises(PlanError, match="'a' is stated live"):
        verify_after_change([(0, 0)], "b a")


def test_in_place_needs_elements_of_one_width() -> None:
    with pytest.raises(PlanError, match="'a' and 'b' are live at once"):
        verify_after_change([(0, 0)], "b", tensor("b", 2, "float32"))


def test_in_place_of_a_returned_tensor_is_refused() -> None:
    """At the last step the live ranges alone cannot tell: both end there."""
    specs = [tensor("x", 8), tensor("a", 8), tensor("y", 8)]
    calls = [call("x", "a"), call("a", "y", [(0, 0)])]
    plan = plan_memory(program(specs, "x", "y", calls))
    with pytest.raises(PlanError, match="the caller reads 'a', but finds bytes of 'y'"):
        verify_plan(program(specs, "x", "y a", calls), plan)


def test_in_place_of_an_argument_given_twice_is_refused() -> None:
    specs = [tensor("x", 8), tensor("a", 8), tensor("y", 8)]
    plan = plan_memory(program(specs, "x", "y", [call("x", "a"), call("a", "y", [(0, 0)])]))
    twice = program(specs, "x", "y", [call("x", "a"), call("a a", "y", [(0, 0)])])
    with pytest.raises(PlanError, match="'y' and 'a' are live at once"):
        verify_plan(twice, plan)


def test_the_replay_finds_a_value_that_was_overwritten() -> None:
    """Ranges stated wrong on purpose, so that only the replay can know."""
    specs = [tensor(name, 8) for name in "xaby"]
    calls = [call("x", "a"), call("x", "b"), call("a", "y")]
    model = program(specs, "x", "y", calls)
    plan = plan_memory(model)
    part = replace(plan.placements["b"], offset_bytes=plan.placements["a"].offset_bytes)
    broken = replace(plan, placements={**plan.placements, "b": part})
    with pytest.raises(PlanError, match=r"step 2 \(k\) reads 'a', but finds bytes of 'b'"):
        replay_calls(model, broken, find_roots(model))


def test_the_replay_finds_a_value_that_was_never_written() -> None:
    specs = [tensor("x", 8), tensor("j", 16), tensor("p", 8), tensor("q", 8), tensor("y", 16)]
    views = [View("p", "j", 0), View("q", "j", 8)]
    calls = [call("x", "p"), call("x", "q"), call("j", "y")]
    plan = plan_memory(program(specs, "x", "y", calls, views))
    calls[1] = call("x", "p", kernel="again")
    broken = program(specs, "x", "y", calls, views)
    with pytest.raises(PlanError, match="'p' is written over 'p', its own storage"):
        replay_calls(broken, plan, find_roots(broken))
    calls[1] = call("x", "", kernel="none")
    broken = program(specs, "x", "y", calls, views)
    with pytest.raises(PlanError, match="reads 'j', but finds bytes of nothing"):
        replay_calls(broken, plan, find_roots(broken))


PROBLEM = Problem((Buffer("p", 0, 2, 8, 4), Buffer("q", 1, 3, 8), Buffer("r", 2, 4, 8)), 16)


def test_a_sound_solution_passes() -> None:
    verify_solution(PROBLEM, Solution((0, 8, 0), 16))


@pytest.mark.parametrize(
    ("offsets", "height", "message"),
    [
        ((0, 7, 16), 24, "exceeds the capacity|'p' and 'q'"),
        ((0, 7, 0), 15, "'p' and 'q' are live"),
        ((0, 8, 1), 16, "'q' and 'r' are live"),
        ((2, 10, 0), 18, "'p': offset 2"),
        ((0, 8, -1), 16, "'r': offset -1"),
        ((0, 8, 0), 15, "the height is 16, not 15"),
        ((0, 8, 0), 17, "the height is 16, not 17"),
        ((4, 12, 0), 20, "exceeds the capacity 16"),
        ((0, 8), 16, "2 offsets for 3 buffers"),
    ],
)
def test_a_broken_solution_is_refused(offsets: tuple[int, ...], height: int, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        verify_solution(PROBLEM, Solution(offsets, height))
