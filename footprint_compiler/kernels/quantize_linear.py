"""QuantizeLinear of a model's input and DequantizeLinear of its output, as tensor expressions.

They compute what TVM's own legalization does, so that a build for another core gives the same
codes: the quotient in float32, halves to even, the zero point added in float32, then clamped. A
number that is none becomes the largest code, because it is not less than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import te, tirx


def quantize_linear(
    x: Any,
    axes: Sequence[int],
    scale: float,
    zero_point: int,
    low: int,
    high: int,
    arithmetic: str,
) -> Any:
    """clamp(round(x / scale) + zero_point) as int8, transposed by ``axes``.

    Args:
        x: float32.
        axes: axis of ``x`` for each axis of the result.
        scale: a float32 number.
        zero_point, low, high: of the codes.
        arithmetic: for the generators of C kernels, as ``c.float_ends`` names it.
    """
    del arithmetic
    shape = [x.shape[axis] for axis in axes]

    def element(*indices: Any) -> Any:
        at = dict(zip(axes, indices, strict=True))
        value = x[tuple(at[axis] for axis in range(len(axes)))]
        steps = tirx.round(value / _real(scale)) + _real(zero_point)
        return tirx.max(tirx.min(steps, _real(high)), _real(low)).astype("int8")

    return te.compute(shape, element, name="quantize")


def dequantize_linear(x: Any, scale: float, zero_point: int, arithmetic: str) -> Any:
    """(x - zero_point) * scale in float32; arguments as of ``quantize_linear``."""
    del arithmetic

    def element(*indices: Any) -> Any:
        steps = x[indices].astype("int32") - tirx.const(zero_point, "int32")
        return steps.astype("float32") * _real(scale)

    return te.compute(x.shape, element, name="dequantize")


def _real(value: float) -> Any:
    return tirx.const(float(value), "float32")
