"""Bounds of what each operator computes, from the bounds of what it reads; see ``bounds``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from footprint_compiler.shrink import bounds
from footprint_compiler.shrink.analysis import Analysis, Limit, NotFollowedError
from footprint_compiler.shrink.atoms import Channels
from footprint_compiler.shrink.bounds import Bounds

MOVING = (
    "Identity Transpose Reshape Flatten Squeeze Unsqueeze MaxPool AveragePool GlobalMaxPool "
    "GlobalAveragePool ReduceMean ReduceMax ReduceMin"
)
RESHAPED = ("Reshape", "Flatten")


def limits_of(analysis: Analysis, name: str, channels: Channels | None) -> Bounds | None:
    """Bounds of an operand, one for each of ``channels`` or one for all of them."""
    if analysis.network.is_constant(name):
        value = analysis.values.get(name)
        if value is None or value.dtype.kind not in "fiu" or not np.isfinite(value).all():
            return None
        value = value.astype(np.float64)
        return value.min(keepdims=True).ravel(), value.max(keepdims=True).ravel()
    found = analysis.bounds.get(name)
    own = analysis.channels.get(name)
    if found is None:
        dtype = analysis.network.dtypes.get(name)
        return None if dtype is None else bounds.of_dtype(dtype)
    same = own is not None and channels is not None and len(own.atoms) == len(channels.atoms)
    return found if same and own is not None else bounds.overall(found)


def same_limits(
    analysis: Analysis, node: onnx.NodeProto, attrs: Mapping[str, Any]
) -> Bounds | None:
    """Elements move, or some are picked or averaged; borders may add zeros."""
    found = None if node.op_type in RESHAPED else analysis.channels.get(node.output[0])
    data = limits_of(analysis, node.input[0], found)
    if data is None:
        return None
    if attrs.get("count_include_pad", 0):
        data = bounds.with_zero(data)
    size = np.maximum(np.abs(data[0]), np.abs(data[1]))
    return bounds.widened(data, size, _window(analysis, node)) if _averages(node) else data


def limits_of_layer(
    analysis: Analysis, node: onnx.NodeProto, attrs: Mapping[str, Any]
) -> Bounds | None:
    """A convolution or product that is followed; the last layer noted is this one."""
    layer = next((x for x in reversed(analysis.layers) if x.node is node), None)
    if layer is None or attrs.get("alpha", 1.0) != 1.0 or attrs.get("beta", 1.0) != 1.0:
        return None
    data = limits_of(analysis, node.input[0], layer.source)
    if data is None:
        return None
    low, high = bounds.with_zero(data)
    weights = np.moveaxis(analysis.values[node.input[1]], layer.out_axis, 0)
    bias = np.zeros(1)
    if len(node.input) > 2 and node.input[2]:
        if node.input[2] not in analysis.values:
            return None
        bias = analysis.values[node.input[2]].astype(np.float64).ravel()
        if bias.size not in (1, len(weights)) or not np.isfinite(bias).all():
            return None
    if layer.depthwise:
        low, high = (np.repeat(e, len(weights) // e.size).reshape(-1, 1, 1) for e in (low, high))
    else:
        low, high = (edge.reshape(1, -1, 1) for edge in (low, high))
    return bounds.of_sum(weights, bias, (low, high))


def limits_of_activation(
    analysis: Analysis, node: onnx.NodeProto, attrs: Mapping[str, Any]
) -> Bounds | None:
    """Relu and Clip."""
    data = limits_of(analysis, node.input[0], analysis.channels.get(node.output[0]))
    if data is None:
        return None
    low, high = (0.0, np.inf) if node.op_type == "Relu" else _clip_range(analysis, node, attrs)
    return np.clip(data[0], low, high), np.clip(data[1], low, high)


def limits_of_scaled(
    analysis: Analysis, node: onnx.NodeProto, attrs: Mapping[str, Any]
) -> Bounds | None:
    """QuantizeLinear and DequantizeLinear, per tensor."""
    scale = analysis.constant(node.input[1])
    has_zero = len(node.input) > 2 and bool(node.input[2])
    zero = analysis.constant(node.input[2]) if has_zero else np.uint8(0)
    if scale.size != 1 or np.size(zero) != 1 or bounds.of_dtype(zero.dtype) is None:
        return None
    data = limits_of(analysis, node.input[0], analysis.channels.get(node.output[0]))
    if data is None or not scale.item() > 0:
        return None
    rule = bounds.of_quantized if node.op_type == "QuantizeLinear" else bounds.of_dequantized
    return rule(data, scale, np.asarray(zero))


def limits_of_sum(
    analysis: Analysis, node: onnx.NodeProto, attrs: Mapping[str, Any]
) -> Bounds | None:
    """Add."""
    found, rank = analysis.channels.get(node.output[0]), len(analysis.shape(node.output[0]))
    operands = []
    for name in node.input:
        own = analysis.channels.get(name)
        aligned = False
        if own is not None and found is not None:
            aligned = own.axis - len(analysis.shape(name)) == found.axis - rank
        operands.append(limits_of(analysis, name, found if aligned else None))
    first, second = operands
    return None if first is None or second is None else bounds.of_added(first, second)


def limits_of_parts(
    analysis: Analysis, node: onnx.NodeProto, attrs: Mapping[str, Any]
) -> Bounds | None:
    """Concat: whatever part an element comes from."""
    parts = [limits_of(analysis, name, None) for name in node.input]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return np.min([p[0] for p in known], axis=0), np.max([p[1] for p in known], axis=0)


def _clip_range(
    analysis: Analysis, node: onnx.NodeProto, attrs: Mapping[str, Any]
) -> tuple[float, float]:
    edges = []
    for index, name, default in ((1, "min", -np.inf), (2, "max", np.inf)):
        value = float(attrs.get(name, default))
        if len(node.input) > index and node.input[index]:
            edge = analysis.constant(node.input[index])
            if edge.size != 1:
                raise NotFollowedError
            value = float(edge.item())
        edges.append(value)
    if not edges[0] <= edges[1]:
        raise NotFollowedError
    return edges[0], edges[1]


def _averages(node: onnx.NodeProto) -> bool:
    return node.op_type in ("AveragePool", "GlobalAveragePool", "ReduceMean")


def _window(analysis: Analysis, node: onnx.NodeProto) -> int:
    """At most how many elements one average is of."""
    return int(np.prod(analysis.shape(node.input[0])))


LIMITS: Mapping[str, Limit] = {
    **dict.fromkeys(("Conv", "Gemm", "MatMul"), limits_of_layer),
    **dict.fromkeys(("Relu", "Clip"), limits_of_activation),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), limits_of_scaled),
    **dict.fromkeys(MOVING.split(), same_limits),
    "Add": limits_of_sum,
    "Concat": limits_of_parts,
}
