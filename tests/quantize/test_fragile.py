"""What 8 bits ruin stays in float; ranges are tuned by the outputs."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx import helper

from footprint_compiler.progress import Reporter
from footprint_compiler.quantize.fragile import fragile_nodes
from footprint_compiler.quantize.hidden import raise_hidden_floors
from footprint_compiler.quantize.loss import is_better
from footprint_compiler.quantize.prepare import prepare
from footprint_compiler.quantize.quantizer import QuantizeOptions, quantize
from footprint_compiler.quantize.tune_ranges import tune_ranges
from footprint_compiler.quantize.workbench import Recipe, Workbench
from tests.quantize.models import model, residual, samples, weights

node = helper.make_node
SHAPE = [1, 12]


def spectrum() -> ir.Model:
    """Squares over many decades, their logarithm, and a healthy rest."""
    nodes = [
        node("MatMul", ["x", "w1"], ["f"]),
        node("Exp", ["f"], ["e"]),
        node("Mul", ["e", "e"], ["p"]),
        node("MatMul", ["p", "w2"], ["m"]),
        node("Log", ["m"], ["l"]),
        node("MatMul", ["l", "w3"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("MatMul", ["r", "w4"], ["y"]),
    ]
    constants = {
        "w1": weights(12, 12, scale=2.0), "w2": np.abs(weights(12, 12)) + np.float32(0.01),
        "w3": weights(12, 12), "w4": weights(12, 6),
    }  # fmt: skip
    return prepare(model(nodes, SHAPE, constants))[0]


def test_a_spectrum_stays_in_float_and_the_rest_does_not() -> None:
    bench = Workbench(spectrum(), samples(SHAPE, 24))
    mel, *rest = bench.full.linear[1:]
    before = bench.sqnr(bench.assemble(Recipe()))
    found = fragile_nodes(bench, Recipe(), Reporter())
    assert before < 10
    assert mel in found
    assert not set(rest) & set(found)
    assert "8 bits for" in found[mel]
    after = bench.sqnr(bench.assemble(Recipe(floats=frozenset(found))))
    assert after > before + 10
    made = quantize(bench.model, samples(SHAPE, 24), QuantizeOptions(adaround=False))
    assert set(made.precisions) >= set(rest)
    assert {name: reason for name, _, reason in made.floats}[mel] == found[mel]


def test_nothing_is_fragile_in_a_plain_network() -> None:
    bench = Workbench(prepare(residual())[0], samples([1, 3, 8, 8], 8))
    assert fragile_nodes(bench, Recipe(), Reporter()) == {}


def test_tuned_ranges_lower_the_loss_of_the_calibration_samples() -> None:
    graph, plain = prepare(residual())[0], Recipe(observer="min-max")
    many = Workbench(graph, samples([1, 3, 8, 8], 64), refit=True)
    tuned = tune_ranges(many, plain, Reporter())
    losses = [
        many.losses(many.assemble(recipe), of_all=True)[0].mean() for recipe in (plain, tuned)
    ]
    assert losses[1] < 0.9 * losses[0]


def test_better_by_more_than_chance() -> None:
    before = np.ones(8)
    steady, lucky = before - 0.01, before - np.array([0.2, *[0.0] * 7])
    assert is_better(steady, before, 2.0)
    assert is_better(lucky, before, 0.5)
    assert not is_better(lucky, before, 1.5)
    assert not is_better(before, before, 0.0)
    assert is_better(before + 0.2 - lucky, before, -1.5)
    assert not is_better(before + 0.01, before, -1.5)
    assert is_better(before[:1] - 0.01, before[:1], 1.0)


def test_a_relu_behind_a_sum_hides_low_values() -> None:
    nodes = [
        node("Conv", ["x", "w1"], ["a"]),
        node("Conv", ["x", "w2"], ["b"]),
        node("Add", ["a", "b"], ["s"]),
        node("Relu", ["s"], ["r"]),
        node("Conv", ["r", "w1"], ["c"]),
        node("Add", ["r", "c"], ["y"]),
    ]
    constants = {"w1": weights(3, 3, 1, 1), "w2": weights(3, 3, 1, 1)}
    graph = prepare(model(nodes, [1, 3, 4, 4], constants))[0].graph
    seen = {"a": (-9.0, 4.0), "b": (-2.0, 3.0), "r": (0.0, 6.0), "c": (-9.0, 1.0), "y": (-5.0, 5.0)}
    found = raise_hidden_floors(graph, seen)
    assert found == seen | {"a": (-3.0, 4.0)}
    rng = np.random.default_rng(0)
    first, second = rng.uniform(-9, 4, 1000), rng.uniform(-2, 3, 1000)
    whole = np.maximum(first + second, 0)
    np.testing.assert_array_equal(np.maximum(np.maximum(first, -3) + second, 0), whole)
