"""Mixed precision: the order in which bytes are spent, and what the gate makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from footprint_compiler.calibration.samples import Dataset, load_dataset
from footprint_compiler.errors import AccuracyError
from footprint_compiler.quantize.affine import Learned
from footprint_compiler.quantize.assignment import path_of_upgrades, weight_bytes
from footprint_compiler.quantize.gate import MAX_BUILDS, hold_bound
from footprint_compiler.quantize.precision import ORDER
from footprint_compiler.quantize.prepare import prepare
from footprint_compiler.quantize.quantizer import Quantized, QuantizeOptions, quantize

INTEGERS = ORDER[:-1]


@pytest.fixture(scope="module")
def evaluation(digits: Path) -> Dataset:
    whole = load_dataset(digits.with_name("digits_eval.npz"), prepare(digits)[1])
    assert whole.labels is not None
    return Dataset(whole.samples[60:200], whole.labels[60:200])


@pytest.fixture(scope="module")
def made(digits: Path) -> Quantized:
    prepared, specs = prepare(digits, opset=21)
    whole = load_dataset(digits.with_name("digits_eval.npz"), specs)
    options = QuantizeOptions("min-max", equalize=False, adaround=False, precisions=INTEGERS)
    found = quantize(prepared, whole.samples[:32], options)
    return replace(found, recipe=replace(found.recipe, layers={}))


def without_weights(made: Quantized, layer: str, *bits: int) -> Quantized:
    """The same, where a layer's weights with so many bits are gone."""
    codes = dict(made.recipe.codes)
    for width, precision in ((4, "int4w8a"), (8, "int8")):
        recipe = replace(made.recipe, precision=precision)
        scheme = made.bench.scheme(recipe)
        plain = made.bench.weights(scheme, recipe, made.bench.activations(scheme, recipe))[layer]
        if width in bits:
            codes[layer, width] = Learned(np.zeros_like(plain.codes), plain.scale)
    return replace(made, recipe=replace(made.recipe, codes=codes))


def test_bytes_go_where_they_remove_most_noise(made: Quantized) -> None:
    start = dict.fromkeys(made.precisions, "int4w8a")
    steps = {"int4w8a": 1e-2, "int8": 1e-4, "int16a": 1e-5, "float": 0.0}
    noises = {name: dict(steps) for name in start}
    noises["conv1"]["int4w8a"] = 10.0
    path = path_of_upgrades(made.bench, start, noises, ORDER)
    assert path[0][0] == "conv1"
    end = start | dict(path)
    assert sorted(end.values()) == ["float", "float", "int16a"]
    sizes, now = [], dict(start)
    for name, precision in path:
        assert ORDER.index(precision) > ORDER.index(now[name])
        now[name] = precision
        sizes.append(weight_bytes(made.bench, now))
    assert sizes == sorted(sizes)
    assert weight_bytes(made.bench, start) * 2 == weight_bytes(
        made.bench, dict.fromkeys(start, "int8")
    )


def test_only_the_layer_at_fault_gets_more_bits(made: Quantized, evaluation: Dataset) -> None:
    spoiled = without_weights(made, "conv2", 4)
    built: list[onnx.ModelProto] = []

    def footprint(model: onnx.ModelProto) -> tuple[int, int]:
        built.append(model)
        return 1000, len(model.SerializeToString())

    decision = hold_bound(spoiled, evaluation, 2.0, footprint, precisions=ORDER)
    chosen = decision.chosen
    assert decision.steps[0].drop > 20
    assert decision.steps[0].layers == dict.fromkeys(made.precisions, "int4w8a")
    assert chosen.layers["conv2"] in ("int8", "int16a")
    assert chosen.drop <= 2.0
    assert chosen in decision.steps
    assert chosen.weight_bytes == min(s.weight_bytes for s in decision.steps if s.drop <= 2.0)
    assert chosen.ram_bytes == 1000
    assert len(built) <= MAX_BUILDS + 1
    assert all(step.ram_bytes is None for step in decision.steps if step.drop > 2.0)


def test_precisions_limit_the_search(made: Quantized, evaluation: Dataset) -> None:
    spoiled = without_weights(made, "conv2", 4, 8)
    with pytest.raises(AccuracyError, match="no mix of int4w8a and int8 layers") as caught:
        hold_bound(spoiled, evaluation, 2.0, precisions=("int4w8a", "int8"))
    assert len(caught.value.steps) >= 3
    assert {one for s in caught.value.steps for one in s.layers.values()} == {"int4w8a", "int8"}
    decision = hold_bound(spoiled, evaluation, 2.0, precisions=ORDER)
    assert decision.chosen.layers["conv2"] == "float"


def test_a_metric_of_the_gate(made: Quantized, evaluation: Dataset) -> None:
    whole = Dataset(evaluation.samples)
    decision = hold_bound(made, whole, 0.5, precisions=ORDER, metric="cosine")
    assert decision.chosen.comparison.metric == "cosine"
    assert decision.chosen.drop <= 0.5
    assert decision.chosen.comparison.worst_class is None
