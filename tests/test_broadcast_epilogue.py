"""A gate computed for each channel multiplies an image: the product is larger than the gate."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from footprint_compiler.build import compile_in_process
from footprint_compiler.frontend import import_model


def _model(channels: int, squeezed: int, seed: int) -> tuple[onnx.ModelProto, np.ndarray]:
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((channels, squeezed, 1, 1)).astype("float32")
    nodes = [
        helper.make_node("Conv", ["gate", "w"], ["c"]),
        helper.make_node("HardSigmoid", ["c"], ["s"]),
        helper.make_node("Mul", ["image", "s"], ["y"]),
    ]
    inputs = [
        helper.make_tensor_value_info("gate", TensorProto.FLOAT, [1, squeezed, 1, 1]),
        helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, channels, 3, 5]),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, channels, 3, 5])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(weights, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), weights


def test_gate_is_broadcast_over_the_image() -> None:
    for channels, squeezed in ((32, 8), (13, 3)):
        model, weights = _model(channels, squeezed, channels)
        rng = np.random.default_rng(0)
        gate = rng.standard_normal((1, squeezed, 1, 1)).astype("float32")
        image = rng.standard_normal((1, channels, 3, 5)).astype("float32")
        result = compile_in_process(import_model(model, {}, {}))({"gate": gate, "image": image})
        logits = weights[:, :, 0, 0].astype("float64") @ gate[0, :, 0, 0]
        expected = image * np.clip(0.2 * logits + 0.5, 0, 1)[None, :, None, None]
        np.testing.assert_allclose(result["y"], expected, rtol=1e-5, atol=1e-6)
