"""LeakyRelu: the same values as its definition, also at zeros, infinities and NaN."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import footprint_compiler as fpc
from footprint_compiler.frontend import import_model
from footprint_compiler.kernels.anchors import legalize_map
from footprint_compiler.kernels.machine import machine_of
from footprint_compiler.options import BuildOptions
from footprint_compiler.targets import load_target

VALUES = np.array(
    [0.0, -0.0, 1.5, -1.5, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3e38, -3e38, -1.2e-38],
    np.float32,
)


def leaky(folder, alpha: float):
    node = helper.make_node("LeakyRelu", ["x"], ["y"], alpha=alpha)
    size = [len(VALUES)]
    graph = helper.make_graph(
        [node],
        "leaky",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, size)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, size)],
    )
    path = folder / "leaky.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=9)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("alpha", [0.01, 1.0, -0.5, 2.0])
def test_every_alpha_follows_the_definition(alpha, tmp_path):
    artifact = fpc.build(leaky(tmp_path, alpha), "native", BuildOptions(name="m"), tmp_path / "m")
    with np.errstate(all="ignore"):
        expected = np.where(VALUES < 0, np.float32(alpha) * VALUES, VALUES)
    with fpc.load(artifact) as model:
        found = model.run({"x": VALUES}, allow_nan=True)["y"]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("alpha", "is_maximum"), [(0.01, True), (2.0, False)])
def test_there_is_no_condition_where_none_is_needed(alpha, is_maximum, tmp_path):
    from tvm import relax

    graph = import_model(leaky(tmp_path, alpha), {}, {}, True)
    rules = legalize_map(machine_of(load_target("native")))
    text = str(relax.transform.LegalizeOps(rules)(graph.module))
    assert ("max(" in text) == is_maximum
