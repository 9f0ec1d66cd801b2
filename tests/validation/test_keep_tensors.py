"""Builds that keep their tensors: each is the tensor of the model that it is named after."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import footprint_compiler as fpc
from footprint_compiler import runners
from footprint_compiler.options import BuildOptions
from footprint_compiler.validation.references import evaluator, tensor_names
from footprint_compiler.validation.trace import kept_tensors
from tests.validation.networks import float_model, quantized_model, sample, saved

OPTIONS = BuildOptions(name="m", optimize_for="speed")
"""No rows: the kernels are those of the build that keeps tensors."""


@pytest.fixture(scope="module", params=["float", "quantized"])
def model(request: pytest.FixtureRequest) -> onnx.ModelProto:
    return float_model() if request.param == "float" else quantized_model()


@pytest.fixture(scope="module")
def builds(
    model: onnx.ModelProto, tmp_path_factory: pytest.TempPathFactory
) -> tuple[fpc.Artifact, fpc.Artifact]:
    """(plain, with tensors kept)."""
    folder = tmp_path_factory.mktemp("keep")
    path = saved(model, folder)
    plain = fpc.build(path, options=OPTIONS, out=folder / "plain")
    kept = fpc.build(path, options=replace(OPTIONS, keep_tensors=True), out=folder / "kept")
    return plain, kept


def test_each_tensor_is_the_one_of_its_name(model, builds):
    _, kept = builds
    names = [tensor.name for tensor in kept_tensors(kept)]
    assert set(names) <= tensor_names(model)
    found = runners.run(kept, sample()).outputs
    expected = evaluator(model, names, "ort")(sample())
    for name in names:
        assert found[name].dtype == expected[name].dtype, name
        tolerance = 0 if found[name].dtype.kind == "i" else 1e-5
        np.testing.assert_allclose(found[name], expected[name], atol=tolerance, err_msg=name)
        assert np.ptp(expected[name].astype(np.float64)) > 0


def test_what_is_kept(model, builds):
    names = {tensor.name for tensor in kept_tensors(builds[1])}
    if model is quantized_model():
        # x_q is fused with the transpose behind it
        assert names == {f"{name}_q" for name in "abcdefy"}
    else:
        assert names >= {"b", "d", "e", "j", "swapped", "y"}
        assert "a" not in names  # fused with the Relu behind it


def test_the_build_itself_stays_as_it_is(builds):
    plain, kept = (runners.run(build, sample()).outputs for build in builds)
    for name, array in plain.items():
        assert array.tobytes() == kept[name].tobytes()
    before, after = (json.loads((build.path / "plan.json").read_text()) for build in builds)
    moved = after["placements"]
    for name, part in before["placements"].items():
        if not name.startswith("scratch:"):
            at = moved[f"{name} (stored)" if f"{name} (stored)" in moved else name]
            assert at["offset_bytes"] == part["offset_bytes"], name
    kernels = [
        [row["kernel"] for row in build.manifest["layers"] if row["family"] != "keep"]
        for build in builds
    ]
    assert kernels[0] == kernels[1]


def test_reads_lead_back_to_the_inputs(builds):
    seen = {"x"}
    for tensor in kept_tensors(builds[1]):
        assert tensor.reads
        assert set(tensor.reads) <= seen, tensor
        seen.add(tensor.name)


def test_options_are_recorded(builds):
    assert [build.manifest["options"] for build in builds] == [{"optimize_for": "speed"}] * 2


def test_nothing_is_kept_without_being_asked(builds):
    assert kept_tensors(builds[0]) == ()


def test_a_tensor_named_like_a_node(tmp_path: Path):
    renamed = onnx.ModelProto()
    renamed.CopyFrom(quantized_model())
    for node in renamed.graph.node:
        node.name = node.output[0]
    path = saved(renamed, tmp_path)
    build = fpc.build(path, options=replace(OPTIONS, keep_tensors=True), out=tmp_path / "kept")
    found = runners.run(build, sample()).outputs
    expected = evaluator(renamed, ["b_q"], "ort")(sample())
    np.testing.assert_array_equal(found["b_q"], expected["b_q"])
