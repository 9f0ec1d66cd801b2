"""Scale and zero point of inputs and outputs that are quantized tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx

from footprint_compiler.tensor import TensorSpec

MOVES = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that only move elements."""


def annotate_inputs(graph: onnx.GraphProto, specs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """Specs with the parameters of the DequantizeLinear nodes that alone read each input.

    One operator after the other that only moves elements may come before them.
    """
    constants = graph_constants(graph)
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = []
    for spec in specs:
        nodes = readers.get(spec.name, [])
        while len(nodes) == 1 and nodes[0].op_type in MOVES:
            nodes = readers.get(nodes[0].output[0], [])
        if nodes and all(n.op_type == "DequantizeLinear" for n in nodes):
            spec = annotated(spec, nodes[0], constants)
        found.append(spec)
    return tuple(found)


def annotate_outputs(graph: onnx.GraphProto, specs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """Specs with the parameters of the QuantizeLinear node that computes each output."""
    constants = graph_constants(graph)
    writers = {name: node for node in graph.node for name in node.output}
    found = []
    for spec in specs:
        node = writers.get(spec.name)
        while node is not None and node.op_type in MOVES:
            node = writers.get(node.input[0])
        if node is not None and node.op_type == "QuantizeLinear":
            spec = annotated(spec, node, constants)
        found.append(spec)
    return tuple(found)


def graph_constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Initializers and the tensors of Constant nodes, by name."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    found[node.output[0]] = attribute.t
    return found


def annotated(
    spec: TensorSpec, node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]
) -> TensorSpec:
    """``spec`` with per-tensor parameters; unchanged where they are per axis or not constant."""
    if len(node.input) < 2 or node.input[1] not in constants:
        return spec
    scale = onnx.numpy_helper.to_array(constants[node.input[1]])
    zero = np.zeros(1, "int64")
    if len(node.input) > 2 and node.input[2]:
        if node.input[2] not in constants:
            return spec
        zero = onnx.numpy_helper.to_array(constants[node.input[2]])
    if scale.size != 1 or zero.size != 1:
        return spec
    return replace(spec, scale=float(scale.item()), zero_point=int(zero.item()))
