"""Refuse constants that would fill the memory before anything allocates them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from footprint_compiler.errors import ModelLimitError

MAX_ELEMENTS = 1 << 28
MAX_TRIPS = 1024
Arrays = Sequence[np.ndarray | None]


def check_size(node: onnx.NodeProto, inputs: Arrays) -> None:
    """Raise when operators that invent elements would make too many of them.

    Args:
        node: only its operator and name are read.
        inputs: known values, None for the others (whose size counts as one).

    Raises:
        ModelLimitError: more than ``MAX_ELEMENTS`` elements.
    """
    rule = _RULES.get(node.op_type)
    if rule is None or node.domain not in ("", "ai.onnx"):
        return
    try:
        with np.errstate(all="ignore"):
            elements = rule(inputs)
    except (ValueError, TypeError, IndexError):  # not what the operator takes: refused elsewhere
        return
    if elements > MAX_ELEMENTS:
        raise ModelLimitError(
            f"node {node.name or node.op_type} makes a tensor of {elements:.3g} elements"
        )


def check_graph(graph: onnx.GraphProto) -> None:
    """``check_size`` for the nodes whose shapes are constants of the graph itself."""
    known: dict[str, np.ndarray] = {}
    for tensor in [*graph.initializer, *_constants(graph)]:
        if int(np.prod([float(d) for d in tensor.dims])) <= 1024:
            try:
                known[tensor.name] = onnx.numpy_helper.to_array(tensor)
            except Exception:  # damaged: reported with its name during conversion
                continue
    for node in graph.node:
        check_size(node, [known.get(name) for name in node.input])


def is_endless(attrs: Mapping[str, Any], inputs: Arrays) -> bool:
    """Whether folding a Loop with these inputs could take long."""
    trips = inputs[0] if inputs else None
    body = attrs.get("body")
    nested = body is not None and any(n.op_type in ("Loop", "Scan") for n in body.node)
    return trips is None or nested or int(np.ravel(trips)[0]) > MAX_TRIPS


def _constants(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    found = []
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                tensor = onnx.TensorProto()
                tensor.CopyFrom(attribute.t)
                tensor.name = node.output[0] if node.output else ""
                found.append(tensor)
    return found


def _product(values: np.ndarray | None) -> float:
    return 1.0 if values is None else float(np.prod(np.ravel(values).astype("float64")))


def _size(values: np.ndarray | None) -> float:
    return 1.0 if values is None else float(values.size)


def _range(inputs: Arrays) -> float:
    if any(i is None for i in inputs):
        return 0.0
    start, limit, delta = (float(np.ravel(i)[0]) for i in inputs if i is not None)
    return abs((limit - start) / delta) if delta else 0.0


def _one_hot(inputs: Arrays) -> float:
    depth = inputs[1]
    return _size(inputs[0]) * (0.0 if depth is None else abs(float(np.ravel(depth)[0])))


_RULES: dict[str, Any] = {
    "ConstantOfShape": lambda i: _product(i[0]),
    "Expand": lambda i: _product(i[1]),
    "OneHot": _one_hot,
    "Pad": lambda i: _product(None if i[1] is None else np.abs(i[1]) + 1.0),
    "Range": _range,
    "Resize": lambda i: max(_product(v) for v in i[2:4]) if len(i) > 2 else 1.0,
    "Tile": lambda i: _size(i[0]) * _product(i[1]),
    "Upsample": lambda i: _product(i[1]) if len(i) > 1 else 1.0,
}
