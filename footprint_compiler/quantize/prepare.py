"""Bring a float model into the form that the quantizer reads.

Static shapes, constants folded, opset 13 or newer, every value and node named. Affine chains are
folded into the linear operator before them:

    (W * x + b) * s + t  =  (s * W) * x + (s * b + t)         s, t constant per output channel

Gemm gets alpha = beta = 1 and a weight matrix of shape (inputs, outputs), a matrix product with its
bias becomes a Gemm, and a batch normalization that follows no linear operator becomes a depthwise
1x1 convolution. Convolutions over one axis get another one. Short recurrent layers are written out.
The results differ from the model as given
by rounding only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass, RemoveUnusedNodesPass

from footprint_compiler.errors import ModelFileError, UnsupportedModelError
from footprint_compiler.frontend.bind import bind_inputs
from footprint_compiler.frontend.lift_convolutions import lift_convolutions
from footprint_compiler.frontend.limits import check_graph
from footprint_compiler.frontend.load import load_model
from footprint_compiler.frontend.simplify import simplify
from footprint_compiler.quantize.edit import (
    add_constant,
    attribute,
    constant_of,
    shape_of,
    sole_consumer,
)
from footprint_compiler.quantize.fills import without_fills
from footprint_compiler.quantize.recurrent import write_out
from footprint_compiler.tensor import TensorSpec

OPSET = 13
FOUR_BITS_IR = 10
"""First IR version with tensors of 4 bits."""


def prepare(
    model: str | Path | onnx.ModelProto,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    constants: Mapping[str, str | int | float] | None = None,
    opset: int = OPSET,
) -> tuple[ir.Model, tuple[TensorSpec, ...]]:
    """The float model, ready to be quantized, and its inputs.

    Args:
        opset: the least version of the result.

    Raises:
        ModelFileError, DynamicShapeError, UsageError: as for a build.
        UnsupportedModelError: the model is quantized already.
    """
    proto, source, _ = load_model(model)
    quantized = [n.op_type for n in proto.graph.node if n.op_type in _QUANTIZED]
    if quantized:
        raise UnsupportedModelError(
            f"{source} is quantized already: it has {len(quantized)} {quantized[0]} nodes",
            "Give the float model, or build this one as it is.",
        )
    inputs, fixed = bind_inputs(proto.graph, shapes or {}, constants or {})
    check_graph(proto.graph)
    simple = simplify(proto, inputs, fixed)
    if any(node.op_type == "ConstantOfShape" for node in simple.graph.node):
        simple = simplify(without_fills(simple), inputs, {})
    simple = lift_convolutions(simple, only_quantized=False)
    simple = _inferred(_upgraded(simple, source, opset))
    prepared = _lifted(simple)
    if write_out(prepared.graph):
        prepared = _lifted(_inferred(ir.serde.serialize_model(prepared)))
    graph = prepared.graph
    for node in list(graph):
        _plain_gemm(graph, node)
    for node in list(graph):
        _product_with_bias(graph, node)
    for node in list(graph):
        if node.op_type in _CHANNEL_AXIS:
            while _fold_affine(graph, node):
                pass
    for node in list(graph):
        _lone_normalization(graph, node)
    RemoveUnusedNodesPass()(prepared)
    _name_everything(graph)
    return prepared, inputs


_QUANTIZED = frozenset(
    {
        "QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger",
        "MatMulInteger", "DynamicQuantizeLinear", "QGemm", "QLinearAdd",
    }
)  # fmt: skip

_CHANNEL_AXIS = {"Conv": 0, "ConvTranspose": 1, "Gemm": 1}
"""Linear operator -> axis of its weights that holds the output channels."""


def _upgraded(proto: onnx.ModelProto, source: str, opset: int) -> onnx.ModelProto:
    """The model in an opset that has the quantization it needs: per axis 13, 4 and 16 bits 21."""
    version = max(o.version for o in proto.opset_import if o.domain in ("", "ai.onnx"))
    try:
        if version < opset:
            # Before IR 4 initializers had to be inputs, too; the importer has dropped these.
            proto.ir_version = max(proto.ir_version, 7)
            proto = onnx.version_converter.convert_version(proto, opset)
        if opset >= 21:
            proto.ir_version = max(proto.ir_version, FOUR_BITS_IR)
        return proto
    except Exception as error:  # the converter raises many types
        raise ModelFileError(
            f"{source} uses opset {version} and cannot be converted to {opset}: {error}",
            f"Export it with opset {opset} or newer.",
        ) from error


def _inferred(proto: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except Exception:  # shapes only help; what needs one and lacks it stays in float
        return proto


def _lifted(proto: onnx.ModelProto) -> ir.Model:
    model = ir.serde.deserialize_model(proto)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    _name_everything(model.graph)
    return model


def _name_everything(graph: ir.Graph) -> None:
    taken = {node.name for node in graph if node.name}
    for index, node in enumerate(graph):
        for position, value in enumerate(node.outputs):
            if value.name is None:
                value.name = f"value_{index}_{position}"
        if not node.name:
            name, count = node.outputs[0].name or f"{node.op_type}_{index}", 0
            while name in taken:
                count += 1
                name = f"{node.outputs[0].name}_{count}"
            node.name = name
            taken.add(name)


def _plain_gemm(graph: ir.Graph, node: ir.Node) -> None:
    if node.op_type != "Gemm" or attribute(node, "transA", 0):
        return
    weights = constant_of(node.inputs[1])
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    offsets = constant_of(bias)
    if weights is None or (bias is not None and offsets is None):
        return
    alpha = node.attributes.get_float("alpha", 1.0) or 0.0
    beta = node.attributes.get_float("beta", 1.0) or 0.0
    plain = (weights.T if attribute(node, "transB", 0) else weights) * np.float32(alpha)
    given = np.zeros(1, np.float32) if offsets is None else offsets * np.float32(beta)
    if given.size not in (1, plain.shape[1]):
        return
    _set_weights(graph, node, plain, np.broadcast_to(given.ravel(), (plain.shape[1],)))
    for name in ("alpha", "beta", "transA", "transB"):
        node.attributes.pop(name, None)


def _product_with_bias(graph: ir.Graph, node: ir.Node) -> None:
    if node.op_type != "MatMul":
        return
    weights, shape = constant_of(node.inputs[1]), shape_of(node.inputs[0])
    if weights is None or weights.ndim != 2 or shape is None or len(shape) != 2:
        return
    node.op_type = "Gemm"
    _set_weights(graph, node, weights, np.zeros(weights.shape[1], weights.dtype))


def _fold_affine(graph: ir.Graph, node: ir.Node) -> bool:
    """Fold the node behind ``node`` into it; False where there is nothing to fold."""
    weights = constant_of(node.inputs[1])
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    after = sole_consumer(node.outputs[0])
    if weights is None or after is None or (bias is not None and constant_of(bias) is None):
        return False
    groups = attribute(node, "group", 1)
    if node.op_type == "ConvTranspose" and groups != 1:
        return False
    axis = _CHANNEL_AXIS[node.op_type]
    channels = weights.shape[axis]
    factors = _affine(after, node.outputs[0], channels, weights.ndim)
    if factors is None:
        return False
    scale, shift = factors
    spread = [1] * weights.ndim
    spread[axis] = channels
    offsets = constant_of(bias)
    base = np.zeros(channels) if offsets is None else offsets.astype(np.float64)
    if base.size != channels:
        return False
    folded = weights.astype(np.float64) * scale.reshape(spread), base.ravel() * scale + shift
    if not all(np.isfinite(part.astype(np.float32)).all() for part in folded):
        return False
    _set_weights(graph, node, *folded)
    after.outputs[0].replace_all_uses_with(node.outputs[0], replace_graph_outputs=True)
    node.outputs[0].name, after.outputs[0].name = after.outputs[0].name, node.outputs[0].name
    graph.remove(after, safe=True)
    return True


def _affine(
    node: ir.Node, source: ir.Value, channels: int, rank: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Scale and shift per channel in float64, where ``node`` applies such to ``source``."""
    ones, zeros = np.ones(channels), np.zeros(channels)
    if node.op_type == "BatchNormalization":
        return _normalization(node)
    if node.op_type not in ("Add", "Mul", "Sub") or len(node.inputs) != 2:
        return None
    if node.inputs[0] is not source and node.op_type == "Sub":
        return None
    other = constant_of(node.inputs[1] if node.inputs[0] is source else node.inputs[0])
    if other is None or other.ndim > rank:
        return None
    aligned = other.reshape((1,) * (rank - other.ndim) + other.shape)
    if aligned.size not in (1, channels) or aligned.shape[1] != aligned.size:
        return None
    vector = np.broadcast_to(aligned.ravel().astype(np.float64), (channels,))
    if node.op_type == "Mul":
        return vector, zeros
    return ones, vector if node.op_type == "Add" else -vector


def _normalization(node: ir.Node) -> tuple[np.ndarray, np.ndarray] | None:
    parameters = [constant_of(value) for value in node.inputs[1:5]]
    if attribute(node, "training_mode", 0) or any(p is None for p in parameters):
        return None
    gamma, beta, mean, variance = (
        np.asarray(p, np.float64).ravel() for p in parameters if p is not None
    )
    epsilon = node.attributes.get_float("epsilon", 1e-5) or 0.0
    scale = gamma / np.sqrt(variance + epsilon)
    return scale, beta - mean * scale


def _lone_normalization(graph: ir.Graph, node: ir.Node) -> None:
    """BatchNormalization of an image -> a depthwise convolution with 1x1 kernels."""
    shape = shape_of(node.inputs[0]) if node.inputs else None
    if node.op_type != "BatchNormalization" or shape is None or len(shape) != 4:
        return
    factors = _normalization(node)
    if factors is None:
        return
    channels, prefix = shape[1], node.outputs[0].name
    parts = {
        f"{prefix}_scale": factors[0].reshape(channels, 1, 1, 1),
        f"{prefix}_shift": factors[1],
    }
    values = [add_constant(graph, k, v.astype(np.float32)) for k, v in parts.items()]
    conv = ir.node("Conv", [node.inputs[0], *values], {"group": channels}, name=node.name)
    graph.insert_after(node, conv)
    node.outputs[0].replace_all_uses_with(conv.outputs[0], replace_graph_outputs=True)
    conv.outputs[0].shape, conv.outputs[0].type = node.outputs[0].shape, node.outputs[0].type
    graph.remove(node, safe=True)
    conv.outputs[0].name = prefix


def _set_weights(graph: ir.Graph, node: ir.Node, weights: np.ndarray, bias: np.ndarray) -> None:
    """New constants for a linear operator (the old ones may be shared)."""
    prefix = node.outputs[0].name
    kernel = add_constant(graph, f"{prefix}_weights", weights.astype(np.float32))
    offset = add_constant(graph, f"{prefix}_bias", bias.astype(np.float32))
    node.resize_inputs(3)
    node.replace_input_with(1, kernel)
    node.replace_input_with(2, offset)
