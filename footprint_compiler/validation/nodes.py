"""Which nodes of an ONNX graph lie between tensors."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

_STATIC = ("Shape", "Size")
"""Known at build time, whatever they read."""

_SILENT = ("Constant", "QuantizeLinear", "DequantizeLinear", "Identity")


def nodes_between(
    model: onnx.ModelProto, tensor: str, stops: Iterable[str]
) -> tuple[tuple[str, str], ...]:
    """(name, operator) of what is computed from ``stops`` on to get ``tensor``, in graph order.

    Nodes that read nothing but constants, and the quantization itself, are left out unless there
    is nothing else.
    """
    producers = {
        output: (index, node)
        for index, node in enumerate(model.graph.node)
        for output in node.output
        if output
    }
    inputs = {info.name for info in model.graph.input}
    limits = set(stops) - {tensor}
    found: dict[int, onnx.NodeProto] = {}
    waiting = [tensor]
    while waiting:
        name = waiting.pop()
        if name in limits or name in inputs or name not in producers:
            continue
        index, node = producers[name]
        if index not in found and node.op_type not in _STATIC:
            found[index] = node
            waiting += node.input
    constant = _constants(found, limits | inputs)
    loud = {i: n for i, n in found.items() if n.op_type not in _SILENT and i not in constant}
    return tuple(
        (node.name or f"{node.op_type}_{index}", node.op_type)
        for index, node in sorted((loud or found).items())
    )


def _constants(nodes: dict[int, onnx.NodeProto], moving: set[str]) -> set[int]:
    """Which of the nodes depend on nothing that changes at run time."""
    changing = set(moving)
    fixed = set()
    for index, node in sorted(nodes.items()):
        if changing.intersection(node.input):
            changing.update(node.output)
        else:
            fixed.add(index)
    return fixed
