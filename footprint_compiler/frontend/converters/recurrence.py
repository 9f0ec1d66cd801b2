"""The loop over time of recurrent layers, as one kernel.

Per step and sequence, with h the hidden state of the step before:
``gates[j] = projected[t, b, j] + sum_k h[k] * R[k, j]``, then the cell's own equations.
The state outputs hold the running state, so that the kernel needs scratch for the gates only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import tirx

from footprint_compiler.frontend.context import Context
from footprint_compiler.frontend.converters.gates import Activation
from footprint_compiler.frontend.loops import T, emit_kernel, like, store
from footprint_compiler.frontend.value import Value, constant


@dataclass(frozen=True)
class Cell:
    """Parameters of one direction."""

    hidden: int
    functions: list[Activation]
    clip: float | None
    linear_before_reset: bool
    input_forget: bool
    dtype: str

    def clipped(self, x: Any) -> Any:
        """``x`` limited to [-clip, clip], if the node asks for it."""
        if self.clip is None:
            return x
        limit = tirx.const(self.clip, self.dtype)
        return tirx.min(tirx.max(x, -limit), limit)


# cell, buffers of one step: gates, states, weights, extra, y; position in y and batch index
Step = Callable[[Cell, "Buffers", Any, Any], None]


@dataclass(frozen=True)
class Buffers:
    """TIR buffers of the kernel.

    Attributes:
        gates: scratch, one number per gate and hidden unit.
        weights: R transposed, (H, G*H).
        y: (T, B, H).
        states: running states, (B, H) each; the first is the hidden state.
        extra: peephole weights or a bias of the hidden state.
    """

    gates: Any
    weights: Any
    y: Any
    states: list[Any]
    extra: list[Any]


def recurrence(
    ctx: Context,
    step: Step,
    cell: Cell,
    projected: Value,
    weights: Value,
    states: Sequence[Value],
    extra: Sequence[Value],
    lengths: np.ndarray | None,
    reverse: bool,
) -> tuple[Value, ...]:
    """y (T, B, H) and the final states (B, H)."""
    steps, batch, rows = projected.shape
    inputs = [projected, weights, *states, *extra]
    if lengths is not None:
        inputs.append(constant(lengths))
    outputs = [like((steps, batch, cell.hidden), cell.dtype)]
    outputs += [like((batch, cell.hidden), cell.dtype) for _ in states]

    def body(*buffers: Any) -> None:
        given = list(buffers)
        x, r = given[0], given[1]
        first = given[2 : 2 + len(states)]
        more = given[2 + len(states) : 2 + len(states) + len(extra)]
        y = given[len(inputs)]
        running = given[len(inputs) + 1 : len(inputs) + 1 + len(states)]
        gates = given[-1]
        used = Buffers(gates, r, y, running, more)
        for source, state in zip(first, running, strict=True):
            with T.serial(0, batch) as b, T.serial(0, cell.hidden) as j:
                store(state, source[b, j], [b, j])

        def one(position: Any, b: Any) -> None:
            with T.serial(0, rows) as j:
                store(gates, x[position, b, j], [j])
            step(cell, used, position, b)

        def masked(t: Any, b: Any) -> None:
            length = given[len(inputs) - 1][b]
            with T.If(t < length):
                with T.Then():
                    one(length - 1 - t if reverse else t, b)
                with T.Else(), T.serial(0, cell.hidden) as j:
                    store(y, tirx.const(0.0, cell.dtype), [t, b, j])

        with T.serial(0, steps) as t, T.serial(0, batch) as b:
            if lengths is None:
                one(steps - 1 - t if reverse else t, b)
            else:
                masked(t, b)

    return emit_kernel(ctx, "recurrence", inputs, outputs, body, [((rows,), cell.dtype)])


def _accumulate(used: Buffers, cell: Cell, b: Any, start: int, stop: int, scale: int = -1) -> None:
    """``gates[start:stop] += h @ R[:, start:stop]``; h times gate ``scale`` if that is given."""
    hidden = used.states[0]
    with T.serial(0, cell.hidden) as k, T.serial(0, stop - start) as j:
        h = hidden[b, k]
        if scale >= 0:
            h = h * used.gates[scale * cell.hidden + k]
        store(used.gates, used.gates[start + j] + h * used.weights[k, start + j], [start + j])


def lstm_cell(cell: Cell, used: Buffers, t: Any, b: Any) -> None:
    """Gates i, o, f, c; peepholes p in the order i, o, f."""
    n = cell.hidden
    f, g, h = cell.functions
    gates, (hidden, memory) = used.gates, used.states
    _accumulate(used, cell, b, 0, 4 * n)

    def peephole(gate: int, j: Any, state: Any) -> Any:
        return used.extra[0][gate * n + j] * state if used.extra else tirx.const(0.0, cell.dtype)

    with T.serial(0, n) as j:
        before = memory[b, j]
        store(gates, f(cell.clipped(gates[j] + peephole(0, j, before))), [j])
        if cell.input_forget:
            store(gates, tirx.const(1.0, cell.dtype) - gates[j], [2 * n + j])
        else:
            forget = cell.clipped(gates[2 * n + j] + peephole(2, j, before))
            store(gates, f(forget), [2 * n + j])
        fresh = gates[j] * g(cell.clipped(gates[3 * n + j]))
        store(memory, gates[2 * n + j] * before + fresh, [b, j])
        store(gates, f(cell.clipped(gates[n + j] + peephole(1, j, memory[b, j]))), [n + j])
        store(hidden, gates[n + j] * h(memory[b, j]), [b, j])
        store(used.y, hidden[b, j], [t, b, j])


def gru_cell(cell: Cell, used: Buffers, t: Any, b: Any) -> None:
    """Gates z, r, h; with linear_before_reset the reset gate scales the product, not the state."""
    n = cell.hidden
    f, g = cell.functions
    gates, hidden = used.gates, used.states[0]
    one = tirx.const(1.0, cell.dtype)
    _accumulate(used, cell, b, 0, 2 * n)
    with T.serial(0, 2 * n) as j:
        store(gates, f(cell.clipped(gates[j])), [j])
    if cell.linear_before_reset:
        # y holds the product with R until the new state replaces it.
        with T.serial(0, n) as j:
            store(used.y, used.extra[0][j], [t, b, j])
        with T.serial(0, n) as k, T.serial(0, n) as j:
            product = used.y[t, b, j] + hidden[b, k] * used.weights[k, 2 * n + j]
            store(used.y, product, [t, b, j])
        with T.serial(0, n) as j:
            store(gates, gates[2 * n + j] + gates[n + j] * used.y[t, b, j], [2 * n + j])
    else:
        _accumulate(used, cell, b, 2 * n, 3 * n, scale=1)
    with T.serial(0, n) as j:
        fresh = (one - gates[j]) * g(cell.clipped(gates[2 * n + j]))
        store(used.y, fresh + gates[j] * hidden[b, j], [t, b, j])
    with T.serial(0, n) as j:
        store(hidden, used.y[t, b, j], [b, j])


def rnn_cell(cell: Cell, used: Buffers, t: Any, b: Any) -> None:
    """One gate."""
    (f,) = cell.functions
    _accumulate(used, cell, b, 0, cell.hidden)
    with T.serial(0, cell.hidden) as j:
        store(used.states[0], f(cell.clipped(used.gates[j])), [b, j])
        store(used.y, used.states[0][b, j], [t, b, j])
