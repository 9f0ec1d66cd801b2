"""Give equal constants one name, and equal dequantized constants one node."""

from __future__ import annotations

import onnx
from onnx import numpy_helper


def share_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with every constant stored once. Changed in place, and returned.

    Graph outputs and names that subgraphs read keep their own.
    """
    graph = model.graph
    fixed = {o.name for o in graph.output} | {i.name for i in graph.input}
    inner = any(a.HasField("g") or a.graphs for n in graph.node for a in n.attribute)
    if inner:
        return model
    renamed: dict[str, str] = {}
    first: dict[tuple[object, ...], str] = {}
    tensors = []
    for tensor in graph.initializer:
        array = numpy_helper.to_array(tensor)
        key = (tensor.data_type, tuple(tensor.dims), array.tobytes())
        if tensor.name not in fixed and first.setdefault(key, tensor.name) != tensor.name:
            renamed[tensor.name] = first[key]
        else:
            tensors.append(tensor)
    constants = {t.name for t in tensors} - fixed
    nodes = []
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
        if not _is_dequantized_constant(node, constants) or node.output[0] in fixed:
            nodes.append(node)
            continue
        attributes = tuple(a.SerializeToString(deterministic=True) for a in node.attribute)
        form = (node.op_type, tuple(node.input), attributes)
        if first.setdefault(form, node.output[0]) == node.output[0]:
            nodes.append(node)
        else:
            renamed[node.output[0]] = first[form]
    kept = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    unique = [onnx.TensorProto.FromString(t.SerializeToString()) for t in tensors]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(unique)
    return model


def _is_dequantized_constant(node: onnx.NodeProto, constants: set[str]) -> bool:
    if node.op_type != "DequantizeLinear" or node.domain not in ("", "ai.onnx"):
        return False
    return all(name in constants for name in node.input if name)
