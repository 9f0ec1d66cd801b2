"""Recurrent layers as plain operators, so that the quantizer sees their products.

LSTM, GRU and RNN are single operators of ONNX: no QuantizeLinear fits between their gates. A short
sequence is written out, step by step, with the equations of the ONNX operator description:

    LSTM  i, o, f = sigmoid(x W + h R + b),  g = tanh(x W + h R + b)
          c = f c + i g,  h = o tanh(c)
    GRU   z, r = sigmoid(x W + h R + b),  n = tanh(x W + (r h) R + b),  h = (1 - z) n + z h
          with linear_before_reset  n = tanh(x W + b + r (h R + d))
    RNN   h = tanh(x W + h R + b)

Products with the input are taken for all steps at once. Gates of one activation are one product, so
that each activation has its own scale. Products with a zero state are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import onnx_ir as ir

from footprint_compiler.quantize.edit import (
    add_constant,
    attribute,
    constant_of,
    name_of,
    shape_of,
)

MAX_STEPS = 4
"""Steps times directions that are written out; longer sequences stay one operator, in float.

Each step is code and tables of its own: with 32 inputs and 96 units, 4 steps still take less flash
than the float operator, 8 take more, and the noise of 8-bit states adds up from step to step.
"""

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_FUNCTIONS = {
    "LSTM": ("sigmoid", "tanh", "tanh"),
    "GRU": ("sigmoid", "tanh"),
    "RNN": ("tanh",),
}
RECURRENT = frozenset(_GATES)
_LENGTHS, _HIDDEN, _CELL, _PEEPHOLES = 4, 5, 6, 7


def obstacle(node: ir.Node) -> str | None:
    """Why a recurrent layer stays one operator, or None."""
    shape = shape_of(node.inputs[0])
    weights, recurrent = constant_of(node.inputs[1]), constant_of(node.inputs[2])
    if shape is None:
        return "the length of its sequence is not known"
    if weights is None or recurrent is None or not _fixed(node, 3):
        return "its weights are computed at run time"
    if weights.dtype != np.float32:
        return f"its weights are {weights.dtype}"
    if shape[0] * weights.shape[0] > MAX_STEPS:
        return f"{shape[0] * weights.shape[0]} steps are more than the {MAX_STEPS} written out"
    lengths = constant_of(_input(node, _LENGTHS))
    if _input(node, _LENGTHS) is not None and (lengths is None or (lengths != shape[0]).any()):
        return "its sequences differ in length"
    if attribute(node, "layout", 0):
        return "its batch axis comes first"
    if _input(node, _PEEPHOLES) is not None or attribute(node, "input_forget", 0):
        return "its gates are coupled or have peepholes"
    if node.attributes.get_float("clip", 0.0):
        return "it clips its gates"
    functions = [str(f).lower() for f in node.attributes.get_strings("activations", ()) or ()]
    if functions and functions != [*_FUNCTIONS[node.op_type]] * weights.shape[0]:
        return "its activations are not the usual ones"
    return None


def write_out(graph: ir.Graph) -> int:
    """Replace every recurrent layer that allows it; the number of them.

    Shapes of the new values are not known yet.
    """
    nodes = [node for node in graph if node.op_type in RECURRENT and obstacle(node) is None]
    for node in nodes:
        _Layer(graph, node).write()
    return len(nodes)


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _fixed(node: ir.Node, index: int) -> bool:
    return _input(node, index) is None or constant_of(_input(node, index)) is not None


@dataclass(frozen=True)
class _Gate:
    """Rows of gates that share an activation: their weights as (inputs, gates), and biases.

    Attributes:
        inner: bias of the product with the state; zero, but for the last gate of a GRU with
            ``linear_before_reset``.
    """

    weights: np.ndarray
    recurrent: np.ndarray
    outer: np.ndarray
    inner: np.ndarray


class _Layer:
    """One node while it is replaced."""

    def __init__(self, graph: ir.Graph, node: ir.Node) -> None:
        self._graph, self._node = graph, node
        self._prefix = name_of(node)
        shape, recurrent = shape_of(node.inputs[0]), constant_of(node.inputs[2])
        assert shape is not None
        assert recurrent is not None
        self._steps, self._batch, self._inputs = shape
        self._directions, _, self._hidden = recurrent.shape
        self._linear_reset = bool(attribute(node, "linear_before_reset", 0))
        self._count = 0

    def write(self) -> None:
        """Insert the steps before the node and give its results to who reads them."""
        x = self._reshaped(self._node.inputs[0], (self._steps * self._batch, self._inputs))
        order = range(self._steps)
        y: list[list[ir.Value]] = [[] for _ in order]
        last: list[tuple[ir.Value | None, ir.Value | None]] = []
        reverse = self._node.attributes.get_string("direction", "forward") == "reverse"
        for index in range(self._directions):
            gates = self._gates(index)
            parts = [self._projected(x, gate) for gate in gates]
            states = self._state(_HIDDEN, index), self._state(_CELL, index)
            for t in reversed(order) if reverse or index else order:
                states = self._step(gates, [part[t] for part in parts], *states)
                assert states[0] is not None
                y[t].append(states[0])
            last.append(states)
        results: list[list[ir.Value | None]] = [
            [h for row in y for h in row],
            [hidden for hidden, _ in last],
            [cell for _, cell in last],
        ]
        sizes = (self._directions, self._batch, self._hidden)
        shapes = ((self._steps, *sizes), sizes, sizes)
        for value, found, shape in zip(self._node.outputs, results, shapes, strict=False):
            if value.uses() or value.is_graph_output():
                self._give(value, self._joined([v for v in found if v is not None], shape))
        self._graph.remove(self._node, safe=True)

    def _give(self, old: ir.Value, new: ir.Value) -> None:
        new.shape, new.type = old.shape, old.type
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        new.name, old.name = old.name, None

    def _gates(self, index: int) -> list[_Gate]:
        hidden, rows = self._hidden, _GATES[self._node.op_type] * self._hidden
        weights, recurrent = (constant_of(self._node.inputs[k]) for k in (1, 2))
        given = constant_of(_input(self._node, 3))
        assert weights is not None
        assert recurrent is not None
        biases = np.zeros(2 * rows, np.float32) if given is None else given[index]
        outer, inner = biases[:rows].copy(), biases[rows:].copy()
        shared = rows - hidden if self._node.op_type == "GRU" and self._linear_reset else rows
        outer[:shared] += inner[:shared]
        inner[:shared] = 0
        ends = [0, rows] if rows == hidden else [0, rows - hidden, rows]
        spans = [slice(a, b) for a, b in pairwise(ends)]
        return [
            _Gate(weights[index, s].T, recurrent[index, s].T, outer[s], inner[s]) for s in spans
        ]

    def _projected(self, x: ir.Value, gate: _Gate) -> list[ir.Value]:
        """The product with the input, for every step."""
        product = self._product(x, gate.weights, gate.outer)
        return self._split(product, [self._batch] * self._steps, 0)

    def _state(self, index: int, direction: int) -> ir.Value | None:
        """An initial state (batch, hidden); None where it is zero."""
        given = _input(self._node, index)
        fixed = constant_of(given)
        if given is None or (fixed is not None and not fixed.any()):
            return None
        if fixed is not None:
            return self._constant("state", fixed[direction])
        flat = self._reshaped(given, (self._directions * self._batch, self._hidden))
        return self._split(flat, [self._batch] * self._directions, 0)[direction]

    def _step(
        self,
        gates: Sequence[_Gate],
        x: Sequence[ir.Value],
        hidden: ir.Value | None,
        cell: ir.Value | None,
    ) -> tuple[ir.Value | None, ir.Value | None]:
        if self._node.op_type == "RNN":
            return self._op("Tanh", self._sum(x[0], hidden, gates[0])), None
        if self._node.op_type == "GRU":
            return self._gru(gates, x, hidden), None
        sums = self._split(self._sum(x[0], hidden, gates[0]), [self._hidden] * 3, 1)
        i, o, f = (self._op("Sigmoid", part) for part in sums)
        fresh = self._op("Mul", i, self._op("Tanh", self._sum(x[1], hidden, gates[1])))
        if cell is not None:
            fresh = self._op("Add", self._op("Mul", f, cell), fresh)
        return self._op("Mul", o, self._op("Tanh", fresh)), fresh

    def _gru(
        self, gates: Sequence[_Gate], x: Sequence[ir.Value], hidden: ir.Value | None
    ) -> ir.Value:
        sums = self._split(self._sum(x[0], hidden, gates[0]), [self._hidden] * 2, 1)
        z, r = (self._op("Sigmoid", part) for part in sums)
        gate, before = gates[1], x[1]
        if self._linear_reset:
            inner = (
                self._constant("bias", gate.inner)
                if hidden is None
                else self._product(hidden, gate.recurrent, gate.inner)
            )
            before = self._op("Add", before, self._op("Mul", r, inner))
        elif hidden is not None:
            before = self._sum(before, self._op("Mul", r, hidden), gate)
        one = self._constant("one", np.array(1, np.float32))
        fresh = self._op("Mul", self._op("Sub", one, z), self._op("Tanh", before))
        return fresh if hidden is None else self._op("Add", fresh, self._op("Mul", z, hidden))

    def _sum(self, x: ir.Value, hidden: ir.Value | None, gate: _Gate) -> ir.Value:
        if hidden is None:
            return x
        return self._op("Add", x, self._product(hidden, gate.recurrent, gate.inner))

    def _product(self, x: ir.Value, weights: np.ndarray, bias: np.ndarray) -> ir.Value:
        return self._op("Gemm", x, self._constant("weights", weights), self._constant("bias", bias))

    def _joined(self, values: Sequence[ir.Value], shape: tuple[int, ...]) -> ir.Value:
        whole = values[0] if len(values) == 1 else self._op("Concat", *values, axis=0)
        return self._reshaped(whole, shape)

    def _split(self, value: ir.Value, sizes: Sequence[int], axis: int) -> list[ir.Value]:
        if len(sizes) == 1:
            return [value]
        parts = self._constant("sizes", np.array(sizes, np.int64))
        node = ir.node("Split", [value, parts], {"axis": axis}, num_outputs=len(sizes))
        return self._insert(node)

    def _reshaped(self, value: ir.Value | None, shape: tuple[int, ...]) -> ir.Value:
        assert value is not None
        return self._op("Reshape", value, self._constant("shape", np.array(shape, np.int64)))

    def _op(self, op_type: str, *inputs: ir.Value, **attributes: int) -> ir.Value:
        return self._insert(ir.node(op_type, inputs, attributes))[0]

    def _insert(self, node: ir.Node) -> list[ir.Value]:
        self._graph.insert_before(self._node, node)
        for value in node.outputs:
            value.name = f"{self._prefix}_{node.op_type.lower()}_{self._count}"
            self._count += 1
        node.name = node.outputs[0].name
        return list(node.outputs)

    def _constant(self, what: str, array: np.ndarray) -> ir.Value:
        return add_constant(self._graph, f"{self._prefix}_{what}", array)
