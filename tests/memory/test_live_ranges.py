from __future__ import annotations

from footprint_compiler.memory.live_ranges import Storage, live_storages
from footprint_compiler.program import Program, Scratch, View

from .programs import call, program, tensor


def ranges(model: Program) -> dict[str, tuple[int, int]]:
    return {one.name: (one.first_step, one.end_step) for one in live_storages(model, 1)}


def test_a_chain() -> None:
    specs = [tensor(name, 4) for name in "xabcy"]
    calls = [call("x", "a"), call("a", "b"), call("b", "c"), call("c a", "y")]
    assert ranges(program(specs, "x", "y", calls)) == {
        "x": (0, 1),
        "a": (0, 4),
        "b": (1, 3),
        "c": (2, 4),
        "y": (3, 4),
    }


def test_inputs_are_all_live_at_step_zero_even_if_unused() -> None:
    specs = [tensor(name, 4) for name in "xuay"]
    model = program(specs, "x u", "y", [call("", "a"), call("x a", "y")])
    assert ranges(model) == {"x": (0, 2), "u": (0, 1), "a": (0, 2), "y": (1, 2)}


def test_outputs_stay_live_to_the_end() -> None:
    specs = [tensor(name, 4) for name in "xyab"]
    model = program(specs, "x", "y x", [call("x", "y"), call("x", "a"), call("a", "b")])
    assert ranges(model) == {"x": (0, 3), "y": (0, 3), "a": (1, 3), "b": (2, 3)}


def test_a_result_that_nothing_reads_is_live_for_its_step() -> None:
    specs = [tensor(name, 4) for name in "xaby"]
    model = program(specs, "x", "y", [call("x", "a"), call("x", "b"), call("x", "y")])
    assert ranges(model)["a"] == (0, 1)
    assert ranges(model)["b"] == (1, 2)


def test_a_program_without_calls_has_one_step() -> None:
    assert ranges(program([], "", "")) == {}
    specs = [tensor("x", 4), tensor("v", 2), tensor("u", 4)]
    model = program(specs, "x u", "v v x", views=[View("v", "x", 2)])
    assert ranges(model) == {"x": (0, 1), "u": (0, 1)}


def test_views_keep_their_storage_live() -> None:
    specs = [tensor("x", 4), tensor("a", 8), tensor("v", 4), tensor("b", 4), tensor("y", 4)]
    calls = [call("x", "a"), call("x", "b"), call("v b", "y")]
    model = program(specs, "x", "y", calls, [View("v", "a", 4)])
    assert ranges(model) == {"x": (0, 2), "a": (0, 3), "b": (1, 3), "y": (2, 3)}


def test_a_storage_written_in_parts_is_live_from_the_first() -> None:
    specs = [tensor("x", 4), tensor("j", 8), tensor("p", 4), tensor("q", 4), tensor("y", 4)]
    calls = [call("x", "p"), call("x", "q"), call("j", "y")]
    model = program(specs, "x", "y", calls, [View("q", "j", 4), View("p", "j", 0)])
    assert ranges(model) == {"x": (0, 2), "j": (0, 3), "y": (2, 3)}


def test_scratch_is_live_for_its_step_with_its_own_alignment() -> None:
    blocks = [Scratch(100, 64), Scratch(7, 4)]
    calls = [call("x", "a"), call("a", "y", scratch=blocks)]
    model = program([tensor(name, 4) for name in "xay"], "x", "y", calls)
    assert live_storages(model, 16)[3:] == (
        Storage("scratch:1:0", 100, 64, 1, 2, ("scratch:1:0",)),
        Storage("scratch:1:1", 7, 4, 1, 2, ("scratch:1:1",)),
    )


def test_wide_elements_raise_the_alignment_of_their_storage() -> None:
    specs = [tensor("x", 16), tensor("v", 2, "float64"), tensor("y", 3, "float32")]
    model = program(specs, "x", "y", [call("v", "y")], [View("v", "x")])
    assert [one.align_bytes for one in live_storages(model, 1)] == [8, 4]
    assert [one.align_bytes for one in live_storages(model, 16)] == [16, 16]


def test_constants_take_no_storage() -> None:
    model = program([tensor("y", 4)], "", "y", [call("w", "y")], constants="w")
    assert ranges(model) == {"y": (0, 1)}
