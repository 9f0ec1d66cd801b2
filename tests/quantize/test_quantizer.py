"""From a float model to a QDQ model that is integer throughout, and to a build of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import footprint_compiler as fpc
from footprint_compiler.calibration.samples import Dataset, load_dataset
from footprint_compiler.errors import AccuracyError, UnsupportedModelError, UsageError
from footprint_compiler.quantize.affine import Learned
from footprint_compiler.quantize.evaluate import compare, compare_outputs
from footprint_compiler.quantize.gate import hold_bound
from footprint_compiler.quantize.prepare import prepare
from footprint_compiler.quantize.quantizer import Quantized, QuantizeOptions, quantize
from footprint_compiler.quantize.sensitivity import sensitivity
from tests.quantize.models import model, residual, run, samples

SHAPE = [1, 3, 8, 8]


@pytest.fixture(scope="module")
def made() -> Quantized:
    return quantize(prepare(residual())[0], samples(SHAPE, 40))


@pytest.fixture(scope="module")
def data(digits: Path) -> tuple[Dataset, Dataset]:
    """Calibration and evaluation part of the example's data."""
    _, specs = prepare(digits)
    whole = load_dataset(digits.with_name("digits_eval.npz"), specs)
    assert whole.labels is not None
    return Dataset(whole.samples[:80]), Dataset(whole.samples[80:], whole.labels[80:])


def test_the_result_is_a_valid_model_close_to_the_float_one(made: Quantized) -> None:
    onnx.checker.check_model(made.model, full_check=True)
    assert made.sqnr_db > 25
    assert len(made.integer_layers) == 4
    assert [row[1] for row in made.floats] == ["Softmax"]
    names = [trial.what for trial in made.trials]
    held_back = made.trials[names.index("on held-back samples") :]
    *kept, last = [trial.loss for trial in held_back if trial.kept]
    assert kept == sorted(kept, reverse=True)
    assert made.trials[-1].what == "all samples"
    assert made.bench.judge(made.model)[0] == last == made.trials[-1].loss
    fresh = samples(SHAPE, 60)[40:]
    errors = [np.abs(run(made.model, s["x"]) - run(residual(), s["x"])).max() for s in fresh]
    assert max(errors) < 0.08


def test_every_operator_but_softmax_reads_codes(made: Quantized) -> None:
    writers = {name: n for n in made.model.graph.node for name in n.output}
    reading = {"Conv": 3, "Gemm": 3, "Add": 2, "Concat": 2, "AveragePool": 1, "HardSwish": 1}
    for n in made.model.graph.node:
        for name in n.input[: reading.get(n.op_type, 0)]:
            assert writers[name].op_type == "DequantizeLinear", (n.op_type, name)
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in made.model.graph.initializer}
    kernels = [writers[n.input[1]] for n in made.model.graph.node if n.op_type == "Conv"]
    assert all(constants[k.input[0]].dtype == np.int8 for k in kernels)
    for n in made.model.graph.node:
        if n.op_type in ("Conv", "Gemm"):
            scales = [constants[writers[name].input[1]] for name in n.input[:3]]
            np.testing.assert_array_equal(scales[2], scales[0] * scales[1])


def test_the_same_input_gives_the_same_bytes(made: Quantized) -> None:
    again = quantize(prepare(residual())[0], samples(SHAPE, 40))
    first, second = (q.model.SerializeToString(deterministic=True) for q in (made, again))
    assert first == second


def test_digits_keep_their_accuracy_in_the_artifact(
    good: Quantized, data: tuple[Dataset, Dataset], tmp_path: Path
) -> None:
    comparison = compare(good.bench.model, good.model, data[1])
    assert comparison.drop is not None
    assert comparison.drop <= 0.5
    file = tmp_path / "digits.int8.onnx"
    onnx.save(good.model, file)
    artifact = fpc.build(file, out=tmp_path / "built")
    loaded = fpc.load(artifact)
    assert data[1].labels is not None
    got = np.stack([loaded.run(s)["probabilities"].ravel() for s in data[1].samples])
    assert float((got.argmax(axis=1) == data[1].labels).mean()) == comparison.accuracy
    weights = artifact.manifest["footprint"]["flash"]["weights_bytes"]
    assert weights < 3818 * 4 / 2  # int8 weights padded to whole vectors


def test_observer_and_float_layers(digits: Path, data: tuple[Dataset, Dataset]) -> None:
    prepared, _ = prepare(digits)
    layer = "dense" if "dense" in {n.name for n in prepared.graph} else None
    assert layer is not None
    options = QuantizeOptions(
        "percentile", frozenset({layer}), equalize=False, correct=False, adaround=False
    )
    made = quantize(prepared, data[0].samples, options)
    assert made.recipe.observer == "percentile"
    names = [trial.what for trial in made.trials]
    assert names == ["percentile", "on held-back samples", "all samples"]
    assert layer not in made.integer_layers
    with pytest.raises(UsageError, match="no layer 'nothing'"):
        quantize(prepared, data[0].samples, QuantizeOptions(floats=frozenset({"nothing"})))
    with pytest.raises(UsageError, match="unknown observer"):
        quantize(prepared, data[0].samples, QuantizeOptions("best"))


def test_nothing_to_quantize() -> None:
    proto = model([onnx.helper.make_node("Softmax", ["x"], ["y"])], [1, 4], {})
    with pytest.raises(UnsupportedModelError, match="no operator that can be quantized"):
        quantize(prepare(proto)[0], samples([1, 4]))


def test_sensitivity_covers_every_layer(made: Quantized) -> None:
    layers = sensitivity(made, Dataset(tuple(samples(SHAPE, 8)), np.arange(8) % 5))
    assert {layer.name for layer in layers} == set(made.integer_layers)
    assert all(layer.only_db > made.sqnr_db - 3 for layer in layers)
    assert all(layer.only_accuracy is not None for layer in layers)
    gains = [layer.gain_db for layer in layers]
    assert gains == sorted(gains, reverse=True)


@pytest.fixture(scope="module")
def good(digits: Path, data: tuple[Dataset, Dataset]) -> Quantized:
    """The example in int8."""
    return quantize(prepare(digits)[0], data[0].samples)


def spoiled(made: Quantized, *layers: str) -> Quantized:
    """A quantization whose weights are gone in some layers."""
    scheme = made.bench.scheme(made.recipe)
    activations = made.bench.activations(scheme, made.recipe)
    weights = made.bench.weights(scheme, made.recipe, activations)
    gone = {(n, 8): Learned(np.zeros_like(weights[n].codes), weights[n].scale) for n in layers}
    recipe = replace(made.recipe, codes={**made.recipe.codes, **gone})
    model = made.bench.assemble(recipe)
    return replace(made, recipe=recipe, model=model, sqnr_db=made.bench.sqnr(model))


def test_gate_keeps_int8_where_it_may(good: Quantized, data: tuple[Dataset, Dataset]) -> None:
    decision = hold_bound(good, data[1], 0.5, lambda model: (1000, len(model.SerializeToString())))
    assert decision.chosen.floats == frozenset()
    assert len(decision.steps) == 1
    assert decision.chosen.ram_bytes == 1000


def test_gate_returns_layers_to_float(good: Quantized, data: tuple[Dataset, Dataset]) -> None:
    made = spoiled(good, "conv2")
    decision = hold_bound(made, data[1], 0.5)
    assert decision.steps[0].drop > 20
    assert decision.chosen.floats == {"conv2"}
    assert decision.chosen.drop <= 0.5
    assert compare(made.bench.model, decision.model, data[1]).drop == decision.chosen.drop


def test_gate_fails_where_no_layer_can_stay(good: Quantized, data: tuple[Dataset, Dataset]) -> None:
    made = spoiled(good, "conv1", "conv2", "dense")
    with pytest.raises(AccuracyError, match="no mix of int8 and float") as caught:
        hold_bound(made, data[1], 0.5)
    assert len(caught.value.steps) == 3
    assert all(step.drop > 0.5 for step in caught.value.steps)


def test_comparison_of_outputs() -> None:
    expected = np.eye(4)[[0, 1, 2, 3, 0, 1]]
    got = np.eye(4)[[0, 1, 2, 0, 1, 1]]
    labels = np.array([0, 1, 2, 3, 0, 0])
    found = compare_outputs(expected, got, labels)
    assert found.float_accuracy == pytest.approx(5 / 6)
    assert found.accuracy == pytest.approx(3 / 6)
    assert found.drop == pytest.approx(200 / 6)
    assert found.worst_class == (3, 100.0)
    assert found.agreement == pytest.approx(4 / 6)
    assert compare_outputs(expected, got, None).drop == pytest.approx(200 / 6)
