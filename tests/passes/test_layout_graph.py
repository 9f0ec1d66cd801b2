"""Layouts of whole graphs: no assignment of orders costs less, and none of the uniform ones."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from footprint_compiler.frontend import import_model
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.passes.choose_layout import readers
from footprint_compiler.passes.layout_cost import LayoutCost
from footprint_compiler.passes.layout_graph import LayoutPlan, LayoutPlanner
from tests.passes.test_layout_random import graphs

MODEL = LayoutCost(Machine(128, 32))
MOST = 3000
"""Assignments that an exhaustive search may take."""


def _planner(module: Any) -> tuple[LayoutPlanner, LayoutPlan]:
    planner = LayoutPlanner(module["main"], readers(module["main"]), MODEL)
    return planner, planner.plan()


@settings(max_examples=25)
@given(graph=graphs())
def test_equals_exhaustive_search(graph: Any) -> None:
    planner, plan = _planner(graph)
    free = [node for node in planner.nodes if len(node.orders) > 1]
    several = product(*(range(len(node.orders)) for node in free))
    count = 1
    for node in free:
        count *= len(node.orders)
    if count > MOST:
        return
    chosen: dict[int, int] = {node.variable: 0 for node in planner.nodes}
    costs = []
    for each in several:
        chosen.update(zip((node.variable for node in free), each, strict=True))
        costs.append(planner.choices.cost(planner.complete(chosen)))
    assert plan.optimal
    assert plan.costs["chosen"] == pytest.approx(min(costs), rel=1e-12)


@pytest.mark.parametrize(
    "name", ["kws01_dscnn", "ic01_resnet8_qdq", "superres_espcn_224", "dtln_1"]
)
def test_models_cost_no_more_than_one_order_for_all(name: str, zoo: Path) -> None:
    graph = import_model(zoo / "models" / name / "model.onnx")
    _, plan = _planner(graph.module)
    assert plan.optimal
    assert plan.costs["chosen"] <= min(plan.costs.values())
