"""A build beside ONNX Runtime: both with the threads that the build has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

import footprint_compiler as fpc
from footprint_compiler import versus
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
