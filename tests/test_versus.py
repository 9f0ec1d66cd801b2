"""A build beside ONNX Runtime: both with the threads that the build has."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper, save

import footprint_compiler as fpc
from footprint_compiler import versus
from footprint_compiler.cli.main import cli
from footprint_compiler.errors import RunnerError
from footprint_compiler.runners.layer_times import time_layers
from footprint_compiler.validate import onnxruntime_session


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    info = helper.make_tensor_value_info
    weights = numpy_helper.from_array(np.eye(24, dtype="float32"), "w")
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["s"]), helper.make_node("MatMul", ["s", "w"], ["y"])],
        "two_inputs",
        [info("a", TensorProto.FLOAT, [6, 24]), info("b", TensorProto.FLOAT, [24])],
        [info("y", TensorProto.FLOAT, [6, 24])],
        [weights],
    )
    path = tmp_path_factory.mktemp("versus") / "model.onnx"
    opset = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


@pytest.mark.parametrize("threads", [1, 2])
def test_the_peer_has_the_threads_of_the_build(model, tmp_path, monkeypatch, threads):
    given = []

    def session(*words, **options):
        given.append(options["threads"])
        return onnxruntime_session(*words, **options)

    monkeypatch.setattr(versus, "onnxruntime_session", session)
    built = fpc.build(model, "native", fpc.BuildOptions(threads=threads), out=tmp_path / "b")
    sample = {spec.name: np.ones(spec.shape, "float32") for spec in built.inputs}
    found = versus.time_against_onnxruntime(built, sample, model, 3)
    assert found["threads"] == threads
    assert given == [threads]
    assert found["fpc"]["min_us"] > 0
    assert found["onnxruntime"]["min_us"] > 0


def test_layers_of_a_build_with_threads_are_refused_with_the_reason(model, tmp_path):
    built = fpc.build(model, "native", fpc.BuildOptions(threads=2), out=tmp_path / "b")
    sample = {spec.name: np.ones(spec.shape, "float32") for spec in built.inputs}
    with pytest.raises(RunnerError, match="built for 2 threads; kernel by kernel") as refused:
        time_layers(built, sample, 3)
    assert "--threads 1" in refused.value.remedy


def invoke(*arguments: str):
    return CliRunner().invoke(cli, ["bench", *arguments], catch_exceptions=False)


def test_other_threads_are_built_for_the_measurement(model, tmp_path):
    artifact = fpc.build(model, "native", fpc.BuildOptions(name="m"), tmp_path / "m")
    before = sorted(tmp_path.rglob("*"))
    options = ("--threads", "2", "--repeat", "2")
    refused = invoke(str(artifact.path), *options)
    assert refused.exit_code == 2
    assert "is built for 1 threads" in refused.output
    told = invoke(str(artifact.path), *options, "--model", str(model), "--json")
    assert told.exit_code == 0
    assert json.loads(told.stdout)["threads"] == 2
    alone = invoke(str(artifact.path), "--threads", "1", "--repeat", "2", "--json")
    assert json.loads(alone.stdout)["threads"] == 1
    other = tmp_path / "other.onnx"
    other.write_bytes(model.read_bytes() + b"\0")
    wrong = invoke(str(artifact.path), *options, "--model", str(other))
    assert wrong.exit_code == 2
    assert "was built from another file" in wrong.output
    other.unlink()
    assert sorted(tmp_path.rglob("*")) == before
