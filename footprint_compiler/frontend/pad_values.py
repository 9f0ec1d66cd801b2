"""The value that Pad adds, where a quantizer wrote it as a dequantized constant.

DequantizeLinear of a constant is kept in general: weights stay codes. What Pad adds is one number,
which the converter must know.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from footprint_compiler.frontend.quantized_io import graph_constants

_VALUE = 2
"""Input of Pad."""


def fold_pad_values(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model where each such value is an initializer; itself if there is none."""
    constants = graph_constants(model.graph)
    made = {name: node for node in model.graph.node for name in node.output}
    found: dict[str, onnx.TensorProto] = {}
    for node in model.graph.node:
        value = node.input[_VALUE] if node.op_type == "Pad" and len(node.input) > _VALUE else ""
        source = made.get(value)
        if source is None or source.op_type != "DequantizeLinear" or value in found:
            continue
        if all(name in constants for name in source.input if name):
            found[value] = _dequantized(source, constants)
    if not found:
        return model
    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    new = {name: f"{name}:value" for name in found}
    for node in folded.graph.node:
        if node.op_type == "Pad" and len(node.input) > _VALUE and node.input[_VALUE] in new:
            node.input[_VALUE] = new[node.input[_VALUE]]
    for name, tensor in found.items():
        tensor.name = new[name]
        folded.graph.initializer.append(tensor)
    return folded


def _dequantized(
    node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]
) -> onnx.TensorProto:
    """(code - zero point) * scale in float32, as ONNX defines it."""
    code, scale, *zero = (numpy_helper.to_array(constants[name]) for name in node.input if name)
    steps = code.astype(np.int64) - (zero[0].astype(np.int64) if zero else 0)
    return numpy_helper.from_array(steps.astype(scale.dtype) * scale)
