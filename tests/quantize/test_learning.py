"""Bias correction and learned rounding."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper

from footprint_compiler.progress import Reporter
from footprint_compiler.quantize.adaround import Problem, adaround, solve
from footprint_compiler.quantize.correct_bias import correct_bias
from footprint_compiler.quantize.prepare import prepare
from footprint_compiler.quantize.workbench import Recipe, Workbench
from tests.quantize.models import model, residual, samples, weights

node = helper.make_node


@pytest.fixture(scope="module")
def bench() -> Workbench:
    return Workbench(prepare(residual())[0], samples([1, 3, 8, 8], 24))


def channel_means(bench: Workbench, recipe: Recipe) -> np.ndarray:
    runs = [bench.outputs(m, bench.calibration)[0] for m in (bench.assemble(recipe), bench.proto)]
    error: np.ndarray = (runs[0] - runs[1]).mean(axis=0)
    return error


def test_bias_correction_removes_the_mean_error(bench: Workbench) -> None:
    recipe = Recipe()
    corrected = correct_bias(bench, recipe)
    before, after = channel_means(bench, recipe), channel_means(bench, corrected)
    assert np.abs(after).max() < 0.5 * np.abs(before).max()


def test_learned_rounding_beats_nearest_on_correlated_inputs() -> None:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(2, 24, 24)) @ np.diag(np.geomspace(1, 0.01, 24))
    inputs = rng.normal(size=(2, 800, 24)) @ mixing.transpose(0, 2, 1)
    scale = np.full((2, 5, 1), 0.25)
    steps = rng.normal(size=(2, 5, 24)) * 3
    problem = Problem(inputs, inputs @ (steps * scale).transpose(0, 2, 1), steps, scale)
    codes = solve(problem, rng, steps=200)
    assert np.all(np.abs(codes - steps) <= 1)
    errors = [
        float(np.sum((inputs @ (scale * c).transpose(0, 2, 1) - problem.outputs) ** 2))
        for c in (codes, np.rint(steps))
    ]
    assert errors[0] < 0.6 * errors[1]


def test_adaround_changes_codes_by_one_step_at_most(bench: Workbench) -> None:
    recipe = adaround(bench, Recipe(), Reporter())
    assert len(recipe.codes) == 4
    scheme = bench.scheme(recipe)
    plain = bench.weights(scheme, Recipe(), bench.activations(scheme, Recipe()))
    for (name, bits), learned in recipe.codes.items():
        assert bits == 8
        assert learned.codes.shape == plain[name].codes.shape
        assert np.abs(learned.codes - plain[name].codes).max() <= 1
    levels = [bench.sqnr(bench.assemble(r)) for r in (Recipe(), recipe)]
    assert levels[1] > levels[0] - 1.5


@pytest.mark.parametrize(("stride", "dilation", "group"), [(1, 1, 1), (2, 1, 2), (1, 2, 4)])
def test_rows_of_a_convolution_are_its_windows(stride: int, dilation: int, group: int) -> None:
    from footprint_compiler.quantize.adaround import _as_rows

    kernel = weights(4, 4 // group, 3, 2)
    nodes = [
        node("Conv", ["x", "w", "b"], ["y"], pads=[1, 0, 2, 1], strides=[stride, stride],
             dilations=[dilation, dilation], group=group)
    ]  # fmt: skip
    bias = weights(4)
    graph_model = prepare(model(nodes, [1, 4, 9, 8], {"w": kernel, "b": bias}))[0]
    conv = next(iter(graph_model.graph))
    from tests.quantize.models import run

    x = samples([1, 4, 9, 8], 1)[0]["x"]
    y = run(ir.serde.serialize_model(graph_model), x)
    rows, outputs = _as_rows(conv, kernel, x, y, bias)
    plain = kernel.reshape(group, 4 // group, -1)
    np.testing.assert_allclose(rows @ plain.transpose(0, 2, 1), outputs, rtol=1e-4, atol=1e-4)
