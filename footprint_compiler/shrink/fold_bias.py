"""What known channels add to a quantized layer, as integers for its int32 bias.

With x = s_x (q - z), w = s_w (v - u) and a bias s_x s_w b, a known channel c adds
s_x s_w sum_k (q_ck - z) (v_ck - u) to every output of a filter: an integer to add to b, where that
sum is the same at every position of the output. Where a border of padding shows a constant other
than zero, it is not, and the channel stays. In the integers of the accumulator nothing is rounded.
Float layers are left alone: there the bias would be rounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from footprint_compiler.shrink.analysis import Analysis, Layer
from footprint_compiler.shrink.atoms import Channels
from footprint_compiler.shrink.evaluate import evaluate_node
from footprint_compiler.shrink.network import reads

VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity"})
EXACT_FLOAT32 = 1 << 24
SAME_SCALE = 2.0**-22


@dataclass(frozen=True)
class Quantized:
    """A layer in integers.

    Attributes:
        layer: Conv, Gemm or MatMul.
        source: channels of its data input.
        data: q - z of its data input, meaningful where known; float32.
        weights: v - u, float32.
        bias: name of the int32 initializer.
    """

    layer: Layer
    source: Channels
    data: np.ndarray
    weights: np.ndarray
    bias: str


def quantized_layer(analysis: Analysis, layer: Layer) -> Quantized | None:
    """The integers behind a layer; None where it is not of the form above."""
    node, values = layer.node, analysis.values
    weight = analysis.network.producer.get(node.input[1])
    source = _dequantize(analysis, node.input[0])
    bias = _bias(analysis, node)
    if weight is None or source is None or bias is None or layer.source is None:
        return None
    if weight.op_type != "DequantizeLinear" or node.input[0] not in values:
        return None
    if any(a.name in ("alpha", "beta") and a.f != 1.0 for a in node.attribute):
        return None
    data_scale = values[source.input[1]]
    weight_scale, bias_scale = values[weight.input[1]], values[bias.input[1]]
    along = next((a.i for a in weight.attribute if a.name == "axis"), 1)
    per_filter = weight_scale.ndim == 1 and along % values[node.input[1]].ndim == layer.out_axis
    if data_scale.size != 1 or (weight_scale.size != 1 and not per_filter):
        return None
    expected = data_scale.astype(np.float64).ravel() * weight_scale
    if not np.allclose(bias_scale, expected, rtol=SAME_SCALE, atol=0):
        return None
    column = [1] * values[node.input[1]].ndim
    column[layer.out_axis] = -1
    weights = np.rint(values[node.input[1]] / weight_scale.reshape(column))
    data = values[node.input[0]] / data_scale.ravel()[0]
    return Quantized(
        layer, layer.source, np.rint(data).astype(np.float32), weights.astype(np.float32),
        bias.input[0],
    )  # fmt: skip


def contribution(analysis: Analysis, of: Quantized, index: np.ndarray) -> np.ndarray | None:
    """What the channels at ``index`` of the data input add to every filter.

    Returns:
        int64, one per filter; None where it differs between positions, or may be inexact.
    """
    data = of.data.take(index, of.source.axis)
    weights = of.weights.take(index, of.layer.in_axis)
    largest = np.abs(data).max(initial=0) * np.abs(weights).sum(dtype=np.float64)
    if not largest < EXACT_FLOAT32:
        return None
    found = evaluate_node(of.layer.node, _operands(of, data, weights), analysis.network.opsets)
    if found is None:
        return None
    rows = np.moveaxis(found, of.layer.result.axis, 0).reshape(len(of.layer.result.atoms), -1)
    if (rows != rows[:, :1]).any():
        return None
    return rows[:, 0].astype(np.int64)


def _operands(of: Quantized, data: np.ndarray, weights: np.ndarray) -> list[np.ndarray | None]:
    return [data, weights, *([None] if len(of.layer.node.input) > 2 else [])]


def _dequantize(analysis: Analysis, name: str) -> onnx.NodeProto | None:
    """The DequantizeLinear behind a tensor and its views, per tensor."""
    node = analysis.network.producer.get(name)
    for _ in analysis.network.nodes:
        if node is None or node.op_type not in VIEWS:
            break
        node = analysis.network.producer.get(node.input[0])
    if node is None or node.op_type != "DequantizeLinear":
        return None
    return node if node.input[1] in analysis.network.weights else None


def _bias(analysis: Analysis, node: onnx.NodeProto) -> onnx.NodeProto | None:
    """The DequantizeLinear of the int32 bias: an input of the layer, or of the Add behind it."""
    network = analysis.network
    name = node.input[2] if len(node.input) > 2 else ""
    if not name:
        readers = [n for n in network.nodes if node.output[0] in reads(n)]
        if len(readers) != 1 or readers[0].op_type != "Add" or node.op_type == "Conv":
            return None
        if any(output.name == node.output[0] for output in network.model.graph.output):
            return None
        name = next((i for i in readers[0].input if i != node.output[0]), "")
    found = network.producer.get(name)
    filters = network.shapes.get(node.output[0], (0,))[1 if node.op_type == "Conv" else -1]
    if found is None or found.op_type != "DequantizeLinear" or len(found.input) < 2:
        return None
    values = network.weights.get(found.input[0])
    if values is None or values.dtype != np.int32 or values.shape != (filters,):
        return None
    if len(found.input) > 2 and found.input[2] and network.weights[found.input[2]].any():
        return None
    return found
