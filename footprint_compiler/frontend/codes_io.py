"""Inputs and outputs as codes: drop the first QuantizeLinear and the last DequantizeLinear.

    quantize(x) with x = scale (q - z)  is  q        the output y = scale (q - z)  is given as q

Between an input and its quantizer, and between an output and its dequantizer, there may be
operators that only move elements; they move codes then. Inputs and outputs that are integers
already stay as they are. Anything else is refused, every input and output by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx
from onnx import helper

from footprint_compiler.errors import UnsupportedModelError
from footprint_compiler.frontend.quantized_io import MOVES, annotated, graph_constants
from footprint_compiler.tensor import TensorSpec

_REMEDY = "build with --io float, or quantize this tensor in the model"
Row = tuple[str, str, str, str]


def take_codes(
    model: onnx.ModelProto, inputs: Sequence[TensorSpec]
) -> tuple[onnx.ModelProto, tuple[TensorSpec, ...], dict[str, TensorSpec]]:
    """The model with codes for its inputs and outputs.

    Args:
        inputs: specs of the inputs that are given at run time.

    Returns:
        The model, the specs of its inputs, and by name those outputs that changed (their shape is
        not known here and empty).

    Raises:
        UnsupportedModelError: an input or output is not quantized.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph, refused = changed.graph, list[Row]()
    constants = graph_constants(graph)
    del graph.value_info[:]  # the types of moved tensors change
    specs = tuple(_input(graph, spec, constants, refused) for spec in inputs)
    outputs: dict[str, TensorSpec] = {}
    for output in list(graph.output):
        found = _output(graph, output, constants, refused)
        if found is not None:
            outputs[output.name] = found
    if refused:
        names = ", ".join(row[0] for row in refused)
        raise UnsupportedModelError(f"no codes for {names}", _REMEDY, tuple(refused))
    return changed, specs, outputs


def _input(
    graph: onnx.GraphProto,
    spec: TensorSpec,
    constants: Mapping[str, onnx.TensorProto],
    refused: list[Row],
) -> TensorSpec:
    if "float" not in spec.dtype:
        return spec
    name, given = spec.name, {output.name for output in graph.output}
    while True:
        readers = [node for node in graph.node if name in node.input]
        if len(readers) != 1 or name in given:
            reason = f"{len(readers)} operators read it, not one QuantizeLinear"
            refused.append((spec.name, "graph input", reason, _REMEDY))
            return spec
        (node,) = readers
        if node.op_type not in MOVES or node.input[0] != name:
            break
        name = node.output[0]
    codes = replace(spec, dtype=_codes_dtype(node, constants))
    codes = annotated(codes, node, constants)
    if node.op_type != "QuantizeLinear" or node.input[0] != name or codes.scale is None:
        reason = f"{node.op_type} reads it, not a QuantizeLinear with one constant scale"
        refused.append((spec.name, "graph input", reason, _REMEDY))
        return spec
    _become_identity(node)
    info = next(value for value in graph.input if value.name == spec.name)
    info.type.tensor_type.elem_type = _element_type(codes.dtype)
    return codes


def _output(
    graph: onnx.GraphProto,
    output: onnx.ValueInfoProto,
    constants: Mapping[str, onnx.TensorProto],
    refused: list[Row],
) -> TensorSpec | None:
    kind = output.type.tensor_type.elem_type
    if kind not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, 0):
        return None
    writers = {name: node for node in graph.node for name in node.output}
    chain: list[onnx.NodeProto] = []
    node = writers.get(output.name)
    while node is not None and node.op_type in MOVES:
        chain.append(node)
        node = writers.get(node.input[0])
    operator = "nothing" if node is None else node.op_type
    found = TensorSpec(output.name, (), "float32")
    if node is not None and operator == "DequantizeLinear":
        found = annotated(replace(found, dtype=_codes_dtype(node, constants)), node, constants)
    if node is None or operator != "DequantizeLinear" or found.scale is None:
        reason = f"{operator} computes it, not a DequantizeLinear with one constant scale"
        refused.append((output.name, "graph output", reason, _REMEDY))
        return None
    _copy_on_codes(graph, [node, *reversed(chain)], output.name)
    output.type.tensor_type.elem_type = _element_type(found.dtype)
    return found


def _copy_on_codes(graph: onnx.GraphProto, chain: list[onnx.NodeProto], output: str) -> None:
    """Nodes from a DequantizeLinear to an output, a second time and without it.

    The first ones stay for other readers, under other names where they had that of the output.
    """
    renamed = f"{output}/real"
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [renamed if name == output else name for name in names]
    source = chain[0].input[0]
    last = len(chain) - 1
    for position, node in enumerate(chain):
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        if position == 0:
            _become_identity(copy)
        copy.name = f"{node.name or output}/codes"
        copy.input[0] = source
        source = output if position == last else f"{node.output[0]}/codes"
        copy.output[0] = source
        graph.node.append(copy)


def _become_identity(node: onnx.NodeProto) -> None:
    node.op_type, node.domain = "Identity", ""
    del node.input[1:]
    del node.attribute[:]


def _codes_dtype(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> str:
    """Of the codes that a QuantizeLinear writes or a DequantizeLinear reads."""
    if len(node.input) > 2 and node.input[2] in constants:
        kind = constants[node.input[2]].data_type
        return str(np.dtype(helper.tensor_dtype_to_np_dtype(kind)))
    for attribute in node.attribute:
        if attribute.name == "output_dtype" and attribute.i:
            return str(np.dtype(helper.tensor_dtype_to_np_dtype(attribute.i)))
    return "uint8"


def _element_type(dtype: str) -> int:
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
