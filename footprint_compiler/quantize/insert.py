"""Write a scheme into the graph as standard QuantizeLinear and DequantizeLinear nodes."""

from __future__ import annotations

from collections.abc import Mapping

import ml_dtypes
import numpy as np
import onnx_ir as ir

from footprint_compiler.quantize.affine import Affine, Weights
from footprint_compiler.quantize.edit import add_constant, name_of
from footprint_compiler.quantize.operators import LINEAR
from footprint_compiler.quantize.scheme import Scheme


def insert_qdq(
    model: ir.Model,
    scheme: Scheme,
    activations: Mapping[str, Affine],
    weights: Mapping[str, Weights],
) -> ir.Model:
    """A quantized copy of a prepared model.

    Args:
        activations: parameters of every tensor of ``scheme.tensors``.
        weights: of every linear node of ``scheme.linear``, by node name.
    """
    copy = ir.serde.deserialize_model(ir.serde.serialize_model(model))
    graph = copy.graph
    nodes = {name_of(node): node for node in graph}
    values = {name_of(v): v for v in graph.inputs}
    values |= {name_of(v): v for node in nodes.values() for v in node.outputs if v.name}
    for name in scheme.linear:
        _quantize_weights(graph, nodes[name], weights[name])
    for name in scheme.tensors:
        _quantize_tensor(graph, values[name], activations[name], scheme)
    return copy


def _quantize_weights(graph: ir.Graph, node: ir.Node, chosen: Weights) -> None:
    prefix = name_of(node.outputs[0])
    axis = LINEAR[node.op_type]
    given = chosen.codes.astype(ml_dtypes.int4) if chosen.bits == 4 else chosen.codes
    codes = _dequantized(graph, node, f"{prefix}_weights", given, chosen.scale, axis)
    node.replace_input_with(1, codes)
    if chosen.bias is None:
        return
    bias = _dequantized(graph, node, f"{prefix}_bias", chosen.bias, chosen.bias_scale, 0)
    reader, position = bias_of(node)
    reader.replace_input_with(position, bias)


def bias_of(node: ir.Node) -> tuple[ir.Node, int]:
    """Where the bias of a linear node is read: its own input 2, or the Add behind a product."""
    if node.op_type != "MatMul":
        return node, 2
    add = next(use.node for use in node.outputs[0].uses())
    return add, 1 if add.inputs[0] is node.outputs[0] else 0


def _dequantized(
    graph: ir.Graph, node: ir.Node, name: str, codes: np.ndarray, scale: np.ndarray, axis: int
) -> ir.Value:
    inputs = [
        add_constant(graph, f"{name}_codes", codes),
        add_constant(graph, f"{name}_scale", scale),
    ]
    if codes.dtype != np.int32:
        inputs.append(add_constant(graph, f"{name}_zero", np.zeros(scale.shape, codes.dtype)))
    made = ir.node("DequantizeLinear", inputs, {"axis": axis}, name=f"{name}_dequantize")
    graph.insert_before(node, made)
    made.outputs[0].name = f"{name}_dequantized"
    return made.outputs[0]


def _quantize_tensor(graph: ir.Graph, value: ir.Value, parameters: Affine, scheme: Scheme) -> None:
    name, producer = name_of(value), value.producer()
    readers = [use for use in value.uses() if _reads_codes(value, use.node, scheme)]
    is_output = value.is_graph_output() and producer is not None
    is_output = is_output and name_of(producer) in scheme.integer if producer else False
    constants = [
        add_constant(graph, f"{name}_scale", np.array(parameters.scale, np.float32)),
        add_constant(
            graph, f"{name}_zero_point", np.array(parameters.zero_point, parameters.dtype)
        ),
    ]
    quantize = ir.node("QuantizeLinear", [value, *constants], name=f"{name}_quantize")
    dequantize = ir.node(
        "DequantizeLinear", [quantize.outputs[0], *constants], name=f"{name}_dequantize"
    )
    if producer is None:
        first = next(iter(graph))
        graph.insert_before(first, [quantize, dequantize])
    else:
        graph.insert_after(producer, [quantize, dequantize])
    quantize.outputs[0].name = f"{name}_quantized"
    real = dequantize.outputs[0]
    real.name, real.shape, real.type = f"{name}_dequantized", value.shape, value.type
    for use in readers:
        use.node.replace_input_with(use.idx, real)
    if is_output:
        graph.outputs[graph.outputs.index(value)] = real
        value.name, real.name = f"{name}_real", name


def _reads_codes(value: ir.Value, node: ir.Node, scheme: Scheme) -> bool:
    """Whether ``node`` reads the quantized form of ``value``.

    Nodes of the table region that computes ``value`` go on with the real one, and so do float nodes
    where the producer is in float too.
    """
    region = scheme.roots.get(name_of(value))
    if region is not None and scheme.roots.get(name_of(node.outputs[0])) == region:
        return False
    producer = value.producer()
    made_by_integers = producer is not None and name_of(producer) in scheme.integer
    return made_by_integers or name_of(node) in scheme.integer
