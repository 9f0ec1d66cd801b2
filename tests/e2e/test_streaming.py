"""Real models whose layers run row by row: the bits of the naive plan, in a small arena."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import footprint_compiler as fpc
from footprint_compiler import runners
from tests.e2e.zoo import ZooModel, zoo_models
from tests.streaming.naive import naive_plan

MODELS = {model.name: model for model in zoo_models()}
COMPARED = ["kws01_dscnn_qdq", "micro_kws_m_qdq", "mnist_cntk_op8"]
MOST_BYTES = {"kws01_dscnn_qdq": 9216, "sww01_streaming_qdq": 6144}
"""Of the arena on a Cortex-M4, input and output included."""


def _build(model: ZooModel, target: str, out: Path, mode: str) -> fpc.Artifact:
    options = fpc.BuildOptions(
        name="model", shapes=model.shapes, constants=model.constants, optimize_for=mode
    )
    return fpc.build(model.path, target=target, options=options, out=out)


@pytest.mark.parametrize("name", COMPARED)
def test_the_bits_of_the_naive_plan(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    model = MODELS[name]
    inputs, _ = next(model.samples())
    small = _build(model, "native", tmp_path / "small", "ram")
    assert any("stages" in layer for layer in small.manifest["layers"])
    build = sys.modules["footprint_compiler.build"]
    monkeypatch.setattr(build, "plan_for_target", lambda program, *_: naive_plan(program))
    naive = _build(model, "native", tmp_path / "naive", "speed")
    assert small.manifest["arena"]["bytes"] < naive.manifest["arena"]["bytes"]
    with fpc.load(small) as one, fpc.load(naive) as other:
        expected = other.run(inputs)
        for key, got in one.run(inputs).items():
            np.testing.assert_array_equal(got, expected[key], key)


@pytest.mark.parametrize("name", sorted(MOST_BYTES))
def test_on_a_microcontroller(zoo: Path, tmp_path: Path, name: str) -> None:
    model = MODELS[name]
    inputs, outputs = next(model.samples())
    artifact = _build(model, "cortex-m4", tmp_path / "m4", "balanced")
    assert artifact.manifest["arena"]["bytes"] <= MOST_BYTES[name]
    result = runners.run(artifact, inputs)
    for key, reference in outputs.items():
        np.testing.assert_array_equal(result.outputs[key], reference, key)
