"""Pad whose value is a dequantized constant, as quantizers write it."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import footprint_compiler as fpc
from footprint_compiler.frontend.pad_values import fold_pad_values
from footprint_compiler.options import BuildOptions


def padded(code: int, by_node: bool) -> onnx.ModelProto:
    """QDQ, Pad with a dequantized value, QDQ, MaxPool."""
    constants = {
        "s": np.float32(0.05),
        "z": np.int8(-3),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
    }
    value = numpy_helper.from_array(np.int8(code), "code")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["code", "s", "z"], ["value"]),
        helper.make_node("Pad", ["d", "pads", "value"], ["p"]),
        helper.make_node("QuantizeLinear", ["p", "s", "z"], ["qp"]),
        helper.make_node("DequantizeLinear", ["qp", "s", "z"], ["dp"]),
        helper.make_node("MaxPool", ["dp"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    initializers = [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    if by_node:
        nodes.insert(0, helper.make_node("Constant", [], ["code"], value=value))
    else:
        initializers.append(value)
    graph = helper.make_graph(
        nodes,
        "padded",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 3, 4])],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize(("code", "by_node"), [(-3, False), (17, False), (-128, True)])
def test_a_dequantized_value_is_known_at_build_time(code, by_node, tmp_path):
    model = padded(code, by_node)
    path = tmp_path / "padded.onnx"
    onnx.save(model, path)
    x = np.random.default_rng(0).uniform(-4, 4, (1, 3, 4, 6)).astype(np.float32)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    expected = session.run(None, {"x": x})[0]
    artifact = fpc.build(path, "native", BuildOptions(name="padded"), tmp_path / "out")
    with fpc.load(artifact) as loaded:
        np.testing.assert_array_equal(loaded.run({"x": x})["y"], expected)


def test_models_without_such_values_are_left_alone():
    model = padded(5, False)
    folded = fold_pad_values(model)
    assert folded is not model
    assert fold_pad_values(folded) is folded
    value = next(t for t in folded.graph.initializer if t.name == "value:value")
    assert numpy_helper.to_array(value) == np.float32(0.05) * 8
