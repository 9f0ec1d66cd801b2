"""Equalization and absorption keep the float results."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx import helper

from footprint_compiler.calibration.statistics import collect
from footprint_compiler.quantize.equalize import absorb, equalize, pairs
from footprint_compiler.quantize.prepare import prepare
from footprint_compiler.quantize.workbench import Recipe, Workbench
from tests.quantize.models import model, run, samples, weights

node = helper.make_node
SHAPE = [1, 4, 6, 6]


def uneven(bias: float = 0.0) -> ir.Model:
    """conv, relu, depthwise, relu, 1x1; channels differ by a factor of 200."""
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"]),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "w2", "b2"], ["c2"], group=6),
        node("Relu", ["c2"], ["r2"]),
        node("Conv", ["r2", "w3", "b3"], ["y"]),
    ]
    spread = np.geomspace(0.05, 10, 6).astype(np.float32).reshape(6, 1, 1, 1)
    constants = {
        "w1": weights(6, 4, 1, 1) * spread, "b1": weights(6) + np.float32(bias),
        "w2": weights(6, 1, 3, 3), "b2": weights(6),
        "w3": weights(3, 6, 1, 1) / spread.reshape(1, 6, 1, 1), "b3": weights(3),
    }  # fmt: skip
    return prepare(model(nodes, SHAPE, constants))[0]


def changed_by(function: object, before: ir.Model) -> tuple[ir.Model, int]:
    proto = ir.serde.serialize_model(before)
    statistics = collect(proto, ["r1", "r2"], samples(SHAPE))
    return function(before, statistics)  # type: ignore[operator, no-any-return]


def test_pairs_are_found() -> None:
    found = [(pair.activation, pair.depthwise) for pair in pairs(uneven().graph)]
    assert found == [("r1", True), ("r2", False)]


def test_equalization_keeps_results_for_any_input() -> None:
    before = uneven()
    after, count = changed_by(equalize, before)
    assert count == 2
    for sample in samples(SHAPE, 40)[30:]:
        pair = [run(ir.serde.serialize_model(m), sample["x"]) for m in (before, after)]
        np.testing.assert_allclose(pair[1], pair[0], rtol=1e-4, atol=1e-5)


def test_equalization_helps_uneven_channels() -> None:
    before = uneven()
    after, _ = changed_by(equalize, before)
    levels = []
    for one in (before, after):
        bench = Workbench(one, samples(SHAPE, 32))
        levels.append(bench.sqnr(bench.assemble(Recipe())))
    assert levels[1] > levels[0] + 3


def test_absorption_keeps_results_where_nothing_is_clipped() -> None:
    before = uneven(bias=40.0)
    after, count = changed_by(absorb, before)
    assert count >= 1
    seen = samples(SHAPE)[0]["x"]
    pair = [run(ir.serde.serialize_model(m), seen) for m in (before, after)]
    np.testing.assert_allclose(pair[1], pair[0], rtol=1e-4, atol=1e-3)
    tensors = [collect(ir.serde.serialize_model(m), ["r1"], samples(SHAPE))["r1"].high
               for m in (before, after)]  # fmt: skip
    assert tensors[1] < tensors[0]


def test_absorption_declines_behind_padding() -> None:
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["r1c"]),
        node("Relu", ["r1c"], ["r1"]),
        node("Conv", ["r1", "w2", "b1"], ["r2"], pads=[1, 1, 1, 1]),
    ]
    constants = {"w1": weights(4, 4, 1, 1), "b1": weights(4) + 50, "w2": weights(4, 4, 3, 3)}
    proto = model(nodes, SHAPE, constants, outputs=("r2",))
    assert changed_by(absorb, prepare(proto)[0])[1] == 0
