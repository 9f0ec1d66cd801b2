"""LSTM, GRU and RNN.

The products with the input are one matrix product over the whole sequence. The recurrence is one
kernel with a loop over time; its weights are transposed so that the hidden axis is innermost.

Layout: x (T, B, I), W (D, G*H, I), R (D, G*H, H), bias (D, 2*G*H), states (D, B, H),
y (T, D, B, H), with D directions and G gates. ``layout=1`` has the batch axis first everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm import relax

from footprint_compiler.frontend.context import Context, Node, Refusal, Table
from footprint_compiler.frontend.converters.basic import reshape, transpose
from footprint_compiler.frontend.converters.gates import Activation, activations
from footprint_compiler.frontend.converters.recurrence import (
    Cell,
    gru_cell,
    lstm_cell,
    recurrence,
    rnn_cell,
)
from footprint_compiler.frontend.converters.slicing import concat, slice_axis
from footprint_compiler.frontend.value import Value, constant

op = relax.op
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_CELLS = {"LSTM": lstm_cell, "GRU": gru_cell, "RNN": rnn_cell}


@dataclass(frozen=True)
class _Layer:
    """What all directions share."""

    gates: int
    hidden: int
    steps: int
    batch: int
    lengths: np.ndarray | None
    functions: list[Activation]


def _recurrent(ctx: Context, node: Node) -> tuple[Value | None, ...]:
    x = node.input(0)
    if x.dtype == "float16":
        raise Refusal("float16 recurrent layers are not supported", "cast it to float32")
    batch_first = bool(node.attrs.get("layout", 0))
    if batch_first:
        x = transpose(ctx, x, (1, 0, 2))
    gates = _GATES[node.op_type]
    hidden = node.input(2).shape[2]
    directions = _directions(str(node.attrs.get("direction", "forward")))
    layer = _Layer(
        gates,
        hidden,
        x.shape[0],
        x.shape[1],
        _lengths(node, x.shape[0]),
        activations(node, len(directions), x.dtype),
    )
    per_direction = [
        _direction(ctx, node, layer, index, reverse, x) for index, reverse in enumerate(directions)
    ]
    y = _stack(ctx, [d[0] for d in per_direction], 1)
    states = [_stack(ctx, list(s), 0) for s in zip(*(d[1:] for d in per_direction), strict=True)]
    if batch_first:
        y = transpose(ctx, y, (2, 0, 1, 3))
        states = [transpose(ctx, s, (1, 0, 2)) for s in states]
    return (y, *states)


def _directions(direction: str) -> list[bool]:
    known = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    if direction not in known:
        raise Refusal(f"direction {direction} is unknown", f"use one of {', '.join(known)}")
    return known[direction]


def _lengths(node: Node, steps: int) -> np.ndarray | None:
    """Constant sequence lengths, or None when every sequence has all steps."""
    lengths = node.array(4)
    if lengths is None or bool((lengths == steps).all()):
        return None
    if bool((lengths < 0).any()) or bool((lengths > steps).any()):
        raise Refusal("sequence_lens exceeds the sequence", "bind lengths within the shape")
    return lengths.astype("int32")


def _direction(
    ctx: Context, node: Node, layer: _Layer, index: int, reverse: bool, x: Value
) -> tuple[Value, ...]:
    """Outputs of one direction: y (T, B, H) and final states (B, H)."""
    rows = layer.gates * layer.hidden
    split_bias = node.op_type == "GRU" and bool(node.attrs.get("linear_before_reset", 0))
    bias, hidden_bias = _bias(ctx, node, index, rows, 2 * layer.hidden if split_bias else rows)
    flat = reshape(ctx, x, (layer.steps * layer.batch, x.shape[2]))
    weights = transpose(ctx, _pick(ctx, node.input(1), index), (1, 0))
    projected = ctx.op(op.matmul, flat, weights)
    if bias is not None:
        projected = ctx.op(op.add, projected, bias)
    projected = reshape(ctx, projected, (layer.steps, layer.batch, rows))
    states = [_initial(ctx, node, layer, 5, index, x.dtype)]
    if node.op_type == "LSTM":
        states.append(_initial(ctx, node, layer, 6, index, x.dtype))
    cell = Cell(
        hidden=layer.hidden,
        functions=layer.functions[index * _functions(node) : (index + 1) * _functions(node)],
        clip=float(node.attrs["clip"]) if node.attrs.get("clip") else None,
        linear_before_reset=split_bias,
        input_forget=bool(node.attrs.get("input_forget", 0)),
        dtype=x.dtype,
    )
    extra = [] if hidden_bias is None else [hidden_bias]
    if node.op_type == "LSTM" and node.optional(7) is not None:
        extra.append(_pick(ctx, node.input(7), index))
    recurrent = transpose(ctx, _pick(ctx, node.input(2), index), (1, 0))
    step = _CELLS[node.op_type]
    return recurrence(ctx, step, cell, projected, recurrent, states, extra, layer.lengths, reverse)


def _pick(ctx: Context, x: Value, direction: int) -> Value:
    """``x[direction]``."""
    part = slice_axis(ctx, x, 0, direction, direction + 1)
    return reshape(ctx, part, x.shape[1:])


def _bias(
    ctx: Context, node: Node, index: int, rows: int, keep: int
) -> tuple[Value | None, Value | None]:
    """Bias added to the product with the input, and the part of it added to that with the state.

    The first ``keep`` rows of both halves of the node's bias can be added at once; the others of
    the second half belong to the state (GRU with linear_before_reset).
    """
    given = node.optional(3)
    split = keep < rows
    if given is None:
        return None, constant(np.zeros(rows - keep, node.input(0).dtype)) if split else None
    both = _pick(ctx, given, index)
    of_input = slice_axis(ctx, both, 0, 0, rows)
    of_state = slice_axis(ctx, both, 0, rows, rows + keep)
    rest = slice_axis(ctx, both, 0, rows + keep, 2 * rows) if split else None
    if split:
        zeros = constant(np.zeros(rows - keep, given.dtype))
        of_state = concat(ctx, [of_state, zeros], 0)
    if of_input.array is not None and of_state.array is not None:
        total = of_input.array + of_state.array
        return (constant(total) if total.any() else None), rest
    return ctx.op(op.add, of_input, of_state), rest


def _functions(node: Node) -> int:
    return {"LSTM": 3, "GRU": 2, "RNN": 1}[node.op_type]


def _initial(
    ctx: Context, node: Node, layer: _Layer, number: int, direction: int, dtype: str
) -> Value:
    """Initial state (B, H) of one direction; zero when it is not given."""
    given = node.optional(number)
    if given is None:
        return constant(np.zeros((layer.batch, layer.hidden), dtype))
    if node.attrs.get("layout", 0):
        given = transpose(ctx, given, (1, 0, 2))
    return _pick(ctx, given, direction)


def _stack(ctx: Context, parts: list[Value], axis: int) -> Value:
    """Add an axis for the direction."""
    grown = [reshape(ctx, p, (*p.shape[:axis], 1, *p.shape[axis:])) for p in parts]
    if len(grown) == 1:
        return grown[0]
    return concat(ctx, grown, axis)


CONVERTERS: Table = dict.fromkeys(_GATES, _recurrent)
