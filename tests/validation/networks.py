"""Small models whose tensors have no two equal extents, so that a wrong order of axes is seen."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,3,9,7] x) => (float[1,6] y, float[1,5,4,3] swapped) {
    a = Conv <kernel_shape = [3,3], strides = [2,2], pads = [1,1,1,1]> (x, w1, b1)
    b = Relu(a)
    c = Conv <kernel_shape = [3,3], pads = [1,1,1,1], group = 4> (b, w2)
    d = Add(b, c)
    e = MaxPool <kernel_shape = [2,2], strides = [2,2], pads = [1,0,0,0]> (d)
    t = Transpose <perm = [0,2,1,3]> (d)
    swapped = Sigmoid(t)
    s0, s1 = Split <axis = 1> (e)
    j = Concat <axis = 1> (s1, e, s0)
    f = Flatten(j)
    y = Gemm <transB = 1> (f, w3, b3)
}"""
"""b feeds two readers; split, concat and flatten are views; the last layer reads permuted rows."""


@cache
def float_model() -> onnx.ModelProto:
    """Every kind of place: fused, channels last, in place, viewed, transposed."""
    model = onnx.parser.parse_model(FLOAT)
    rng = np.random.default_rng(3)
    shapes = {"w1": (4, 3, 3, 3), "b1": (4,), "w2": (4, 1, 3, 3), "w3": (6, 48), "b3": (6,)}
    arrays = {name: rng.normal(0, 0.4, shape) for name, shape in shapes.items()}
    model.graph.initializer.extend(
        numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()
    )
    for node in model.graph.node:
        node.name = f"n_{node.output[0]}"
    return model


class Quantized:
    """Builds a QDQ model node by node; a tensor ``v`` is quantized as ``v_q``."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.rng = np.random.default_rng(4)

    def node(self, op: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], f"n_{output}", **attributes))
        return output

    def qdq(self, name: str, scale: float, zero: int = 0) -> str:
        """The dequantized form of a tensor."""
        self.arrays |= {f"{name}_s": np.float32(scale), f"{name}_z": np.int8(zero)}
        self.node("QuantizeLinear", [name, f"{name}_s", f"{name}_z"], f"{name}_q")
        return self.node("DequantizeLinear", [f"{name}_q", f"{name}_s", f"{name}_z"], f"{name}_dq")

    def weights(self, name: str, shape: tuple[int, ...], scale: float = 0.01) -> str:
        codes = self.rng.integers(-127, 128, shape).astype(np.int8)
        self.arrays |= {f"{name}_q": codes, f"{name}_s": np.float32(scale), f"{name}_z": np.int8(0)}
        return self.node("DequantizeLinear", [f"{name}_q", f"{name}_s", f"{name}_z"], f"{name}_dq")

    def model(self, shape: tuple[int, ...]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "quantized",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y_q", TensorProto.INT8, None)],
            [numpy_helper.from_array(np.asarray(a), name) for name, a in self.arrays.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@cache
def quantized_model() -> onnx.ModelProto:
    """Convolution and Relu, depthwise, 1x1, sum, pool, average, dense: all on integers."""
    net = Quantized()
    x = net.qdq("x", 1 / 64)
    conv = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    net.node("Conv", [x, net.weights("w1", (6, 3, 3, 3))], "a0", strides=[2, 2], **conv)
    a = net.qdq(net.node("Relu", ["a0"], "a"), 1 / 32, -128)
    b = net.qdq(
        net.node("Conv", [a, net.weights("w2", (6, 1, 3, 3))], "b", group=6, **conv), 1 / 16
    )
    c = net.qdq(net.node("Conv", [b, net.weights("w3", (6, 6, 1, 1))], "c"), 1 / 8, 3)
    d = net.qdq(net.node("Add", [a, c], "d"), 1 / 8, -5)
    pool = {"kernel_shape": [2, 2], "strides": [2, 1]}
    e = net.qdq(net.node("MaxPool", [d], "e", **pool), 1 / 8, -5)
    f = net.qdq(net.node("GlobalAveragePool", [e], "f"), 1 / 16)
    g = net.node("Flatten", [f], "g")
    net.qdq(net.node("Gemm", [g, net.weights("w4", (6, 5))], "y"), 1 / 32, 7)
    return net.model((1, 3, 9, 7))


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    """The model as a file."""
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


def sample(seed: int = 1) -> dict[str, np.ndarray]:
    """An input of both models."""
    return {"x": np.random.default_rng(seed).normal(size=(1, 3, 9, 7)).astype(np.float32)}
