"""Decide what is integer: which nodes, which tensors carry QDQ, which of them share one scale.

A node is integer when the compiler has an integer form for it. Linear operators always are, unless
asked to stay in float; the others follow their neighbours, so that no tensor is quantized only for
their sake. A clamp (Relu, Clip) and the bias of a product belong to the operator before them: the
tensor that is quantized is the one after the clamp. Elementwise functions of one tensor form a
region, a table of 256 entries, whose inner tensors are not quantized.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import onnx_ir as ir

from footprint_compiler.quantize.edit import (
    attribute,
    constant_of,
    integers,
    name_of,
    shape_of,
    sole_consumer,
)
from footprint_compiler.quantize.operators import (
    BINARY,
    CLAMPS,
    ELEMENTWISE,
    LINEAR,
    MOVES,
    POOLS,
)
from footprint_compiler.quantize.recurrent import RECURRENT, obstacle

MAX_REGION = 20


@dataclass(frozen=True)
class Scheme:
    """What to quantize.

    Attributes:
        tensors: float tensor -> representative of the tensors that share its scale.
        linear: names of the linear nodes whose weights are quantized, in order.
        integer: names of all nodes that are computed on integers, clamps included.
        tails: output of a linear or arithmetic node -> the tensor that is quantized for it.
        roots: output of an elementwise node -> the tensor that it is a function of.
        floats: (node, operator, reason) of those that stay in float.
    """

    tensors: dict[str, str]
    linear: tuple[str, ...]
    integer: frozenset[str]
    tails: dict[str, str]
    roots: dict[str, str]
    floats: tuple[tuple[str, str, str], ...]


def linear_layers(graph: ir.Graph) -> list[ir.Node]:
    """Nodes with constant weights that can be quantized, in order."""
    return [node for node in graph if node.op_type in LINEAR and _refusal(node) is None]


def decide(
    graph: ir.Graph, floats: Collection[str] = (), only: Collection[str] | None = None
) -> Scheme:
    """The scheme of a prepared graph.

    Args:
        floats: names of nodes that stay in float.
        only: when given, these linear nodes are quantized and nothing else.
    """
    order = list(graph)
    tails, joined = _tails(order)
    roots = _roots(order, joined)
    chosen = {name_of(n) for n in linear_layers(graph) if name_of(n) not in floats}
    if only is not None:
        chosen &= set(only)
    integer = set(chosen)
    if only is None:
        _spread(order, integer, joined, roots, floats)
    integer |= {name_of(clamp) for clamp, head in joined.items() if name_of(head) in integer}
    nodes = [node for node in order if name_of(node) in integer]
    tensors = _quantized(nodes, integer, joined, tails, roots)
    return Scheme(
        tensors=_share_scales(nodes, tensors),
        linear=tuple(name_of(node) for node in nodes if name_of(node) in chosen),
        integer=frozenset(integer),
        tails={name_of(k): name_of(v) for k, v in tails.items()},
        roots=roots,
        floats=tuple(_reason(node, floats) for node in order if name_of(node) not in integer),
    )


def data_inputs(node: ir.Node) -> list[ir.Value]:
    """The activations among the inputs of an integer node."""
    if node.op_type in LINEAR:
        inputs: Iterable[ir.Value | None] = node.inputs[:1]
    elif node.op_type in MOVES and node.op_type != "Concat":
        inputs = node.inputs[:1]
    else:
        inputs = node.inputs
    return [v for v in inputs if v is not None and constant_of(v) is None]


def _refusal(node: ir.Node) -> str | None:
    """Why a linear operator has no integer form, or None."""
    weights = constant_of(node.inputs[1])
    if weights is None:
        return "its second operand is computed at run time"
    if constant_of(node.inputs[0]) is not None:
        return "its input is a constant"
    if node.op_type in ("Conv", "ConvTranspose"):
        if weights.ndim != 4:
            return f"convolutions over {weights.ndim - 2} axes have no integer form"
        if node.op_type == "ConvTranspose" and attribute(node, "group", 1) != 1:
            return "transposed convolutions in groups have no integer form"
        return None
    if weights.ndim != 2:
        return "its weights are not a matrix"
    if node.op_type == "Gemm" and (attribute(node, "transA", 0) or attribute(node, "transB", 0)):
        return "its operands are transposed"
    return None


def _tails(order: list[ir.Node]) -> tuple[dict[ir.Value, ir.Value], dict[ir.Node, ir.Node]]:
    """Heads' outputs -> what is quantized for them; joined nodes -> their head."""
    tails: dict[ir.Value, ir.Value] = {}
    joined: dict[ir.Node, ir.Node] = {}
    for head in order:
        if head.op_type not in LINEAR and head.op_type not in BINARY | POOLS | {"Concat"}:
            continue
        if head in joined or head.op_type == "Concat":
            continue
        if head.op_type in BINARY and _is_elementwise(head):
            continue
        value = head.outputs[0]
        after = sole_consumer(value)
        if head.op_type == "MatMul" and after is not None and _adds_bias(head, after):
            joined[after] = head
            value = after.outputs[0]
            after = sole_consumer(value)
        while after is not None and after.op_type in CLAMPS and _is_elementwise(after):
            joined[after] = head
            value = after.outputs[0]
            after = sole_consumer(value)
        tails[head.outputs[0]] = value
    return tails, joined


def _adds_bias(head: ir.Node, after: ir.Node) -> bool:
    weights = constant_of(head.inputs[1])
    if after.op_type != "Add" or weights is None:
        return False
    biases = [constant_of(v) for v in after.inputs if v is not head.outputs[0]]
    return len(biases) == 1 and biases[0] is not None and biases[0].shape == weights.shape[-1:]


def _is_elementwise(node: ir.Node) -> bool:
    """A function of one activation, with scalars as its other operands."""
    if node.op_type not in ELEMENTWISE:
        return False
    activations = set()
    for value in node.inputs:
        array = constant_of(value)
        if array is not None and array.size != 1:
            return False
        if value is not None and array is None:
            activations.add(value)
    return len(activations) == 1


def _roots(order: list[ir.Node], joined: dict[ir.Node, ir.Node]) -> dict[str, str]:
    """Regions of elementwise nodes, by the one tensor that they are functions of."""
    roots: dict[str, str] = {}
    sizes: dict[str, int] = {}
    for node in order:
        if node in joined or node.op_type not in ELEMENTWISE:
            continue
        arrays = [constant_of(value) for value in node.inputs]
        if any(array is not None and array.size != 1 for array in arrays):
            continue
        inputs = [
            v for v, a in zip(node.inputs, arrays, strict=True) if v is not None and a is None
        ]
        sources = {roots.get(name_of(v), name_of(v)) for v in inputs}
        size = 1 + sum(sizes.get(name_of(v), 0) for v in inputs)
        if len(sources) != 1 or size > MAX_REGION or len({shape_of(v) for v in inputs}) != 1:
            continue
        roots[name_of(node.outputs[0])] = sources.pop()
        sizes[name_of(node.outputs[0])] = size
    return roots


def _spread(
    order: list[ir.Node],
    integer: set[str],
    joined: dict[ir.Node, ir.Node],
    roots: dict[str, str],
    floats: Collection[str],
) -> None:
    """Let moves, pools, sums and tables follow their integer neighbours, until nothing changes."""

    def made_by_integers(value: ir.Value) -> bool:
        node = value.producer()
        return node is not None and name_of(joined.get(node, node)) in integer

    def read_by_integers(node: ir.Node) -> bool:
        ends = [node.outputs[0], *(c.outputs[0] for c, head in joined.items() if head is node)]
        return any(name_of(use.node) in integer for value in ends for use in value.uses())

    size = -1
    while size != len(integer):
        size = len(integer)
        for node in order:
            if name_of(node) in integer or name_of(node) in floats or node in joined:
                continue
            inputs = data_inputs(node)
            before = any(made_by_integers(value) for value in inputs)
            if name_of(node.outputs[0]) in roots:
                follows = before
            elif (node.op_type in MOVES and _moves(node)) or _averages(node):
                follows = before or read_by_integers(node)
            elif node.op_type in BINARY and len(inputs) == 2:
                follows = before
            else:
                continue
            if follows:
                integer.add(name_of(node))


def _moves(node: ir.Node) -> bool:
    """Whether a move has an integer form: floats in, one output that is read."""
    value = node.inputs[0]
    if value is None or value.dtype not in (ir.DataType.FLOAT, None):
        return False
    if len(node.outputs) > 1 and node.op_type in ("MaxPool", "Dropout"):
        return not any(output.uses() for output in node.outputs[1:])
    if node.op_type == "Pad":
        fill = constant_of(node.inputs[2]) if len(node.inputs) > 2 else None
        mode = node.attributes.get_string("mode", "constant")
        return mode == "constant" and (fill is None or not fill.any())
    if node.op_type == "Concat":
        return all(constant_of(v) is None for v in node.inputs)
    return True


def _averages(node: ir.Node) -> bool:
    if node.op_type not in POOLS:
        return False
    return node.op_type == "GlobalAveragePool" or not any(integers(node, "pads"))


def _quantized(
    nodes: list[ir.Node],
    integer: set[str],
    joined: dict[ir.Node, ir.Node],
    tails: dict[ir.Value, ir.Value],
    roots: dict[str, str],
) -> list[ir.Value]:
    """Tensors that carry QDQ: inputs and outputs of integer nodes, without the inner ones."""
    found: dict[ir.Value, None] = {}
    for node in nodes:
        if node in joined:
            continue
        root = roots.get(name_of(node.outputs[0]))
        for value in data_inputs(node):
            if root is None or name_of(value) == root:
                found[value] = None
        for value in node.outputs:
            tail = tails.get(value, value)
            if root is None or _leaves_region(tail, root, roots, integer):
                found[tail] = None
    return list(found)


def _leaves_region(value: ir.Value, root: str, roots: dict[str, str], integer: set[str]) -> bool:
    """Whether anything outside of its region reads a result of a table."""
    if value.is_graph_output():
        return True
    return any(
        name_of(use.node) not in integer or roots.get(name_of(use.node.outputs[0])) != root
        for use in value.uses()
    )


def _share_scales(nodes: list[ir.Node], tensors: list[ir.Value]) -> dict[str, str]:
    """Union of the tensors that moves connect; the first in order stands for all."""
    parent = {name_of(value): name_of(value) for value in tensors}

    def find(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for node in nodes:
        if node.op_type in MOVES:
            ends = [*data_inputs(node), *node.outputs]
            names = [find(name_of(v)) for v in ends if name_of(v) in parent]
            for name in names[1:]:
                parent[find(name)] = find(names[0])
    return {name: find(name) for name in parent}


def _reason(node: ir.Node, floats: Collection[str]) -> tuple[str, str, str]:
    if name_of(node) in floats:
        reason = "asked to stay in float"
    elif node.op_type in LINEAR:
        reason = _refusal(node) or "not chosen"
    elif node.op_type in RECURRENT:
        reason = obstacle(node) or "no integer form"
    elif node.op_type in MOVES | BINARY | POOLS | ELEMENTWISE:
        reason = "no integer neighbour, or a form without an integer kernel"
    else:
        reason = "no integer form"
    return name_of(node), node.op_type, reason
