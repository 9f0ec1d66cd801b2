"""Small float models, and ONNX Runtime to run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from footprint_compiler.calibration.statistics import Runner

RNG = np.random.default_rng(5)


def model(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int],
    weights: Mapping[str, np.ndarray],
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
) -> onnx.ModelProto:
    """One float input x; outputs of unknown shape."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(w), name) for name, w in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def run(proto: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """The first output."""
    name = proto.graph.output[0].name
    return Runner(proto, [name]).run({proto.graph.input[0].name: x})[name]


def weights(*shape: int, scale: float = 0.5) -> np.ndarray:
    return (RNG.normal(size=shape) * scale).astype(np.float32)


def samples(shape: Sequence[int], count: int = 24) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(11)
    return [{"x": rng.normal(size=shape).astype(np.float32)} for _ in range(count)]


@cache
def residual() -> onnx.ModelProto:
    """conv-bn-relu, depthwise, 1x1, residual add, concat, pool, hard-swish, dense, softmax."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c1", "g", "b", "m", "v"], ["n1"]),
        node("Relu", ["n1"], ["r1"]),
        node("Conv", ["r1", "w2", "b2"], ["c2"], pads=[1, 1, 1, 1], group=8),
        node("Relu", ["c2"], ["r2"]),
        node("Conv", ["r2", "w3", "b3"], ["c3"]),
        node("Add", ["r1", "c3"], ["a"]),
        node("Relu", ["a"], ["r3"]),
        node("MaxPool", ["r3"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        node("AveragePool", ["r3"], ["p2"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Concat", ["p1", "p2"], ["k"], axis=1),
        node("HardSwish", ["k"], ["h"]),
        node("GlobalAveragePool", ["h"], ["q"]),
        node("Flatten", ["q"], ["f"]),
        node("Gemm", ["f", "w4", "b4"], ["s"], transB=1),
        node("Softmax", ["s"], ["y"], axis=1),
    ]
    constants = {
        "w1": weights(8, 3, 3, 3), "g": np.abs(weights(8)) + 0.5, "b": weights(8),
        "m": weights(8), "v": np.abs(weights(8)) + 0.2,
        "w2": weights(8, 1, 3, 3), "b2": weights(8), "w3": weights(8, 8, 1, 1), "b3": weights(8),
        "w4": weights(5, 16), "b4": weights(5),
    }  # fmt: skip
    return model(nodes, [1, 3, 8, 8], constants)
