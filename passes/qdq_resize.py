"""Interpolation between DequantizeLinear and QuantizeLinear: weighted sums of codes.

Linear and cubic resizing weigh a few neighbours along one axis after the other. The weights are
rounded to k bits after the point, so that each sum of weights keeps its value, and k is the least
number that holds them exactly, or ``MOST_BITS``. Between two axes nothing is rounded. Declined
where rounding the weights could move a result by more than ``LOSS`` steps: 16-bit tensors and
weights that are no small fractions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax

from footprint_compiler.kernels.quantized import quantized_weights, quantized_weights_of_two
from footprint_compiler.kernels.tir import WEIGHTED_AXIS
from footprint_compiler.passes.qdq_graph import QdqGraph, Target, call_te
from footprint_compiler.passes.qdq_scale import largest, requantization
from footprint_compiler.passes.rebuild import (
    constant_array,
    is_constant,
    op_name,
    shape_of,
    tensor_constant,
)

MOST_BITS = 18
MOST_TAPS = 64
EXACT = 1e-7
LOSS = 1 / 8


@dataclass(frozen=True)
class _Step:
    """Weighted neighbours along one axis: (output, taps) places and integers of ``bits``.

    ``error`` is the largest sum of magnitudes that rounding changed the weights by.
    """

    axis: int
    places: np.ndarray
    weights: np.ndarray
    bits: int
    error: float

    @property
    def bound(self) -> float:
        """The largest sum of magnitudes."""
        return float(np.abs(self.weights).sum(axis=1).max())


def resize(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """One kernel for all axes, or None."""
    steps: list[_Step] = []
    expr = producer
    while (step := _step(graph, expr)) is not None:
        steps.append(step)
        expr = graph.definition(_operands(expr)[0])
    x = graph.activation_of(expr)
    if not steps or x is None:
        return None
    taps = np.prod([step.places.shape[1] for step in steps])
    if len(steps) > 2 or taps > MOST_TAPS or len({step.axis for step in steps}) < len(steps):
        return graph.decline("it weighs too many neighbours")
    bits = sum(step.bits for step in steps)
    error = np.prod([step.bound / 2.0**step.bits + step.error for step in steps])
    error -= np.prod([step.bound / 2.0**step.bits for step in steps])
    if error * largest(x) * float(x.scale[0]) / target.scale > LOSS:
        return graph.decline("its weights need more bits than its sums leave")
    bound = float(np.prod([step.bound for step in steps])) * largest(x)
    form = requantization(float(x.scale[0]) / (target.scale * 2.0**bits), bound)
    if form is None:
        return graph.decline("its sums or its multiplier do not fit")
    tables = [tensor_constant(a) for step in steps for a in (step.places, step.weights)]
    return call_te(
        graph,
        quantized_weights_of_two if len(steps) == 2 else quantized_weights,
        x.expr,
        *tables,
        shape_of(producer),
        [step.axis for step in steps],
        int(x.zero_point[0]),
        form.mantissa,
        form.scaling,
        target.output,
        pattern=8,
        name="resize_int8",
    )


def _operands(call: Any) -> list[Any]:
    given = call.args[1]
    return list(given.fields) if isinstance(given, relax.Tuple) else [given]


def _step(graph: QdqGraph, call: Any) -> _Step | None:
    """One call of the frontend's weighted sum."""
    if op_name(call) != "relax.call_tir":
        return None
    attrs = graph.rebuilder.module[call.args[0]].attrs
    operands = _operands(call)
    if not attrs or WEIGHTED_AXIS not in attrs or len(operands) != 3:
        return None
    if not all(is_constant(operand) for operand in operands[1:]):
        return None
    places, weights = (constant_array(operand) for operand in operands[1:])
    integers, bits = _rounded(weights.astype(np.float64))
    error = np.abs(integers / 2.0**bits - weights).sum(axis=1).max()
    axis = int(attrs[WEIGHTED_AXIS])
    return _Step(axis, places.astype(np.int32), integers, bits, float(error))


def _rounded(weights: np.ndarray) -> tuple[np.ndarray, int]:
    """The weights as integers with so many bits after the point; rows keep their sums."""
    for bits in range(MOST_BITS + 1):
        scaled = weights * 2.0**bits
        if bits == MOST_BITS or np.all(np.abs(scaled - np.rint(scaled)) <= EXACT * 2.0**bits):
            break
    whole = np.rint(scaled).astype(np.int64)
    missing = np.rint(scaled.sum(axis=1)).astype(np.int64) - whole.sum(axis=1)
    heaviest = np.abs(scaled).argmax(axis=1)
    whole[np.arange(len(whole)), heaviest] += missing
    small = np.abs(whole).max() < 2**15
    return whole.astype(np.int16 if small else np.int32), bits
