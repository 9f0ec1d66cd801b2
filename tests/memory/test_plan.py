from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from footprint_compiler.errors import ArtifactError
from footprint_compiler.memory import Contributor, MemoryPlan, Placement, explain, plan_memory
from footprint_compiler.program import Scratch, View

from .programs import call, program, tensor

# Step 1 holds a, b and scratch: 96 + 32 + 33 bytes, which is the bound, with 33 topmost. Largest
# first puts the scratch below b and needs 176; longest live range first meets the bound.
MODEL = program(
    [tensor("x", 64), tensor("a", 96), tensor("v", 48), tensor("b", 32), tensor("y", 32)],
    "x",
    "y",
    [
        call("x", "a"),
        call("v", "b", scratch=[Scratch(33, 16)]),
        call("b", "y", in_place=[(0, 0)]),
    ],
    [View("v", "a", 16)],
)


def test_a_small_plan_in_full() -> None:
    plan = plan_memory(MODEL, pool="dtcm")
    assert plan == MemoryPlan(
        placements={
            "x": Placement("dtcm", 96, 64, 0, 1),
            "a": Placement("dtcm", 0, 96, 0, 2),
            "v": Placement("dtcm", 16, 48, 0, 2),
            "b": Placement("dtcm", 96, 32, 1, 3),
            "y": Placement("dtcm", 96, 32, 2, 3),
            "scratch:1:0": Placement("dtcm", 128, 33, 1, 2),
        },
        arena_bytes=176,
        align_bytes=16,
        peak_bytes=161,
        lower_bound_bytes=161,
        naive_bytes=64 + 96 + 32 + 32 + 33,
        live_at_peak=("a", "scratch:1:0", "b"),
        planner="greedy_by_length",
        optimal=True,
        storages={"x": ("x",), "a": ("a",), "b": ("b", "y"), "scratch:1:0": ("scratch:1:0",)},
        tensor_align_bytes=16,
    )
    assert plan.gap == 0


def test_gap() -> None:
    plan = replace(plan_memory(MODEL), peak_bytes=150, lower_bound_bytes=120)
    assert plan.gap == 0.25


def test_csv_lists_storages_with_their_whole_live_range() -> None:
    assert plan_memory(MODEL).to_csv() == (
        "id,lower,upper,size,offset\n0,0,1,64,96\n1,0,2,96,0\n2,1,3,32,96\n3,1,2,33,128\n"
    )


def test_json_round_trip_carries_the_gap() -> None:
    plan = plan_memory(MODEL)
    assert MemoryPlan.from_json(plan.to_json()) == plan
    assert json.loads(plan.to_json())["gap"] == plan.gap
    assert plan.to_json() == plan_memory(MODEL).to_json()


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", '{"version": 2}', '{"version": 1}'])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ArtifactError):
        MemoryPlan.from_json(text)


def test_json_with_a_wrong_value_is_refused() -> None:
    text = plan_memory(MODEL).to_json().replace('"offset_bytes": 96', '"offset_bytes": "far"')
    with pytest.raises(ArtifactError, match="far"):
        MemoryPlan.from_json(text)


def test_explanation_of_the_peak() -> None:
    plan = plan_memory(MODEL)
    found = explain(plan, MODEL)
    assert found.live_bytes == (160, 161, 32)
    assert found.top_bytes == (160, 161, 128)
    assert found.peak_step == 1
    assert found.contributors == (
        Contributor("a", "activation", 0, 96, 0, 2, ("v",), ("node_a",)),
        Contributor("scratch:1:0", "scratch", 128, 33, 1, 2, (), ("node_b",)),
        Contributor("b", "output", 96, 32, 1, 3, ("y",), ("node_b",)),
    )


def test_explanation_names_inputs() -> None:
    model = program([tensor("x", 64), tensor("y", 4)], "x", "y", [call("x", "y")])
    found = explain(plan_memory(model), model)
    assert [(one.name, one.kind, one.layers) for one in found.contributors] == [
        ("x", "input", ()),
        ("y", "output", ("node_y",)),
    ]


def test_the_arena_takes_the_largest_alignment() -> None:
    calls = [call("x", "y", scratch=[Scratch(5, 64)])]
    plan = plan_memory(program([tensor("x", 3), tensor("y", 2)], "x", "y", calls), align_bytes=4)
    assert (plan.align_bytes, plan.tensor_align_bytes) == (64, 4)
    assert plan.arena_bytes == 64
    assert plan.placements["scratch:0:0"].offset_bytes == 0


def test_programs_without_calls_or_tensors() -> None:
    empty = plan_memory(program([], "", ""))
    assert (empty.arena_bytes, empty.gap, empty.optimal) == (0, 0.0, True)
    assert explain(empty, program([], "", "")).live_bytes == (0,)
    specs = [tensor("x", 20), tensor("v", 4)]
    passing = program(specs, "x", "v v x", views=[View("v", "x", 8)])
    plan = plan_memory(passing)
    assert plan.placements == {
        "x": Placement("sram", 0, 20, 0, 1),
        "v": Placement("sram", 8, 4, 0, 1),
    }
    assert (plan.peak_bytes, plan.arena_bytes) == (20, 32)


def test_planning_does_not_import_tvm() -> None:
    code = "import sys, footprint_compiler.memory; sys.exit('tvm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
