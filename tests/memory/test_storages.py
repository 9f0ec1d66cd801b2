from __future__ import annotations

import pytest

from footprint_compiler.errors import PlanError
from footprint_compiler.memory import plan_memory
from footprint_compiler.memory.storages import Location, locate_tensors
from footprint_compiler.program import Program, View

from .programs import call, program, tensor

A, B, C, F = tensor("a", 8), tensor("b", 8), tensor("c", 4), tensor("f", 2, "float32")


def test_views_of_views_add_their_offsets_in_any_order() -> None:
    specs = [tensor("c", 2), tensor("b", 6), tensor("a", 16)]
    views = [View("c", "b", 3), View("b", "a", 8)]
    model = program(specs, "a", "c", views=views)
    assert locate_tensors(model) == {
        "c": Location("a", 11, 13),
        "b": Location("a", 8, 14),
        "a": Location("a", 0, 16),
    }
    assert list(locate_tensors(model)) == ["c", "b", "a"]


REFUSED: dict[str, tuple[Program, str]] = {
    "view after the end": (program([A, C], "a", "", views=[View("c", "a", 5)]), "'c' leaves"),
    "view before the start": (program([A, C], "a", "", views=[View("c", "a", -1)]), "'c' leaves"),
    "view outside a view, inside the storage": (
        program([A, C, tensor("d", 4)], "a", "", views=[View("c", "a", 0), View("d", "c", 2)]),
        "'d' leaves its base 'c'",
    ),
    "view that splits elements": (
        program([A, tensor("g", 1, "float32")], "a", "", views=[View("g", "a", 2)]),
        "'g' splits",
    ),
    "cycle": (program([A, B], "", "", views=[View("a", "b"), View("b", "a")]), "view of itself"),
    "view twice": (program([A, B], "a", "", views=[View("b", "a"), View("b", "a")]), "twice"),
    "view of a constant": (
        program([A], "", "a", views=[View("a", "w")], constants="w"),
        "'w' is not a tensor",
    ),
    "unknown view": (program([A], "a", "", views=[View("x", "a")]), "'x' is not a tensor"),
    "tensor and constant": (program([A], "a", "", constants="a"), "both"),
    "reserved name": (program([tensor("scratch:0:0", 1)], "scratch:0:0", ""), "reserved"),
    "unknown argument": (program([A], "", "a", [call("x", "a")]), r"step 0 \(k\) reads 'x'"),
    "unknown result": (program([A], "a", "", [call("a", "x")]), "writes 'x'"),
    "writes a constant": (program([A], "a", "", [call("a", "w")], constants="w"), "writes 'w'"),
    "pair out of range": (
        program([A, B], "a", "b", [call("a", "b", in_place=[(0, 1)])]),
        r"\(0, 1\): out of range",
    ),
    "negative pair": (
        program([A, B], "a", "b", [call("a", "b", in_place=[(0, -1)])]),
        "out of range",
    ),
    "read before written": (
        program([A, B, C], "a", "", [call("b", "c"), call("a", "b")]),
        r"step 0 \(k\) reads 'b' before",
    ),
    "read by the call that writes": (program([A], "", "", [call("a", "a")]), "reads 'a' before"),
    "half of it written": (
        program([A, B, C], "a", "b", [call("a", "c")], [View("c", "b", 0)]),
        "the caller reads 'b' before",
    ),
    "output never written": (program([A, B], "a", "b"), "the caller reads 'b' before"),
    "written twice": (
        program([A, B], "a", "b", [call("a", "b"), call("a", "b")]),
        "step 1 .* writes 'b' over",
    ),
    "input written": (program([A, B], "a b", "", [call("a", "b")]), "writes 'b' over"),
    "written through a view": (
        program([A, C], "a", "a", [call("a", "c")], [View("c", "a", 4)]),
        "writes 'c' over bytes already written as 'a'",
    ),
    "two results in one place": (
        program(
            [A, B, C, tensor("d", 4)],
            "a",
            "",
            [call("a", "c d")],
            [View("c", "b", 0), View("d", "b", 3)],
        ),
        "writes 'd' over bytes already written as 'c'",
    ),
    "never used": (program([A, B], "a", "a"), "'b' is never written or read"),
    "never used, with a view": (
        program([A, B, C], "a", "a", views=[View("c", "b")]),
        "'b' is never written or read",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_unsound_program_is_refused_by_name(name: str) -> None:
    model, message = REFUSED[name]
    with pytest.raises(PlanError, match=message):
        plan_memory(model)


def test_input_with_two_sizes_is_refused() -> None:
    model = program([A], "a", "a")
    other = Program("m", (tensor("a", 9),), (), model.tensors, {}, (), ())
    with pytest.raises(PlanError, match="'a' has two sizes"):
        plan_memory(other)


@pytest.mark.parametrize("align", [0, -16, 12])
def test_alignment_must_be_a_power_of_two(align: int) -> None:
    with pytest.raises(PlanError, match="not a power of two"):
        plan_memory(program([A], "a", "a"), align_bytes=align)
