"""Small questions to an onnx-ir graph, and small changes of it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir


def constant_of(value: ir.Value | None) -> np.ndarray | None:
    """The array behind an initializer, or None for anything that is computed or given."""
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    return np.asarray(value.const_value.numpy())


def add_constant(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """A new initializer; ``name`` gets a number where it is taken."""
    unique, count = name, 0
    while unique in graph.initializers:
        count += 1
        unique = f"{name}_{count}"
    tensor = ir.tensor(np.array(array, order="C"), name=unique)
    value = ir.Value(
        name=unique, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype),
        const_value=tensor,
    )  # fmt: skip
    graph.register_initializer(value)
    return value


def sole_consumer(value: ir.Value) -> ir.Node | None:
    """The only node that reads ``value``, once; None also where it is a graph output."""
    uses = list(value.uses())
    if len(uses) != 1 or value.is_graph_output():
        return None
    return uses[0].node


def shape_of(value: ir.Value | None) -> tuple[int, ...] | None:
    """The static shape, where it is known."""
    if value is None or value.shape is None:
        return None
    sizes = tuple(size for size in value.shape if isinstance(size, int))
    return sizes if len(sizes) == len(value.shape) else None


def name_of(value: ir.Value | ir.Node) -> str:
    """A value's or node's name; the model was given names everywhere when it was prepared."""
    if value.name is None:
        raise ValueError("a value without a name")
    return value.name


def attribute(node: ir.Node, name: str, default: int) -> int:
    """An integer attribute."""
    return int(node.attributes.get_int(name, default) or 0)


def integers(node: ir.Node, name: str) -> tuple[int, ...]:
    """A list of integers; empty where it is missing."""
    return tuple(int(item) for item in node.attributes.get_ints(name, ()) or ())
