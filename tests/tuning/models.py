"""Models of one layer, whose kernel is the task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from footprint_compiler.frontend import import_model
from footprint_compiler.options import BuildOptions
from footprint_compiler.progress import Reporter
from footprint_compiler.targets import Target
from footprint_compiler.tuning.tasks import Task, extract_tasks

#: name -> (input channels, output channels, groups, kernel, stride, padding)
CONVOLUTIONS = {
    "padded": (5, 19, 1, 3, 1, 1),
    "strided": (9, 33, 1, 3, 2, 1),
    "inside": (16, 40, 1, 3, 1, 0),
    "pointwise": (31, 33, 1, 1, 1, 0),
    "even pointwise": (32, 72, 1, 1, 1, 0),
    "depthwise": (35, 35, 35, 3, 1, 1),
    "depthwise strided": (17, 17, 17, 5, 2, 2),
}
#: name -> (operator, its attributes) of a 7 x 9 image with 24 channels
OTHERS: dict[str, tuple[str, dict[str, object]]] = {
    "softmax": ("Softmax", {"axis": -1}),
    "elementwise": ("Sigmoid", {}),
    "transpose": ("Transpose", {"perm": [0, 2, 3, 1]}),
    "reduction": ("ReduceMean", {"axes": [1]}),
    "max pool": ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2]}),
    "mean pool": ("GlobalAveragePool", {}),
    "layer norm": ("LayerNormalization", {}),
}


def convolution(folder: Path, name: str, quantized: bool) -> Path:
    """One convolution of a 7 x 9 image, in float or between QuantizeLinear and DequantizeLinear."""
    inside, outside, groups, kernel, stride, padding = CONVOLUTIONS[name]
    draw = np.random.default_rng(0)
    weights = draw.normal(size=(outside, inside // groups, kernel, kernel)).astype(np.float32)
    attributes = {
        "kernel_shape": [kernel] * 2,
        "strides": [stride] * 2,
        "pads": [padding] * 4,
        "group": groups,
    }
    if not quantized:
        nodes = [helper.make_node("Conv", ["x", "w"], ["y"], **attributes)]
        return _save(folder, nodes, [1, inside, 7, 9], {"w": weights})
    constants = {
        "w": np.clip(np.rint(weights * 40), -127, 127).astype(np.int8),
        "sw": np.float32(0.02),
        "s": np.float32(0.05),
        "t": np.float32(0.5),
        "z": np.int8(3),
        "zw": np.int8(0),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["dw"]),
        helper.make_node("Conv", ["d", "dw"], ["c"], **attributes),
        helper.make_node("QuantizeLinear", ["c", "t", "z"], ["qc"]),
        helper.make_node("DequantizeLinear", ["qc", "t", "z"], ["y"]),
    ]
    return _save(folder, nodes, [1, inside, 7, 9], constants)


def other(folder: Path, name: str) -> Path:
    """One of ``OTHERS``."""
    kind, attributes = OTHERS[name]
    constants = {}
    if kind == "LayerNormalization":
        constants = {"gain": np.linspace(0.5, 2, 9, dtype=np.float32)}
    node = helper.make_node(kind, ["x", *constants], ["y"], **attributes)
    return _save(folder, [node], [1, 24, 7, 9], constants)


def _save(
    folder: Path, nodes: list[NodeProto], shape: list[int], constants: dict[str, np.ndarray]
) -> Path:
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = folder / "one.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


def tasks_of(path: Path, target: Target) -> list[Task]:
    """All tasks of a model."""
    graph = import_model(path, {}, {}, True)
    return extract_tasks(graph, target, BuildOptions(), Reporter())
