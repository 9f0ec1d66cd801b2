"""The sum of two quantized tensors.

    out = ((a - za) fa + (b - zb) fb) / 2^s + z   to the nearest integer, halves to even, clamped

Where all sums of two 8-bit codes show that halves need no care (``quant.halves``), zero points and
the offset are one constant: (a fa + b fb + constant) >> s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import te, tirx

from footprint_compiler.kernels.quantized import Output, element_of, joint_shape
from footprint_compiler.kernels.requantize import clamped, shift_right_rounded
from footprint_compiler.quant.halves import half_offset


@dataclass(frozen=True)
class _OneConstant:
    """The sum as a fa + b fb + ``constant``, shifted; then ``zero_point`` is added."""

    constant: int
    zero_point: int


def quantized_add(
    a: Any,
    b: Any,
    zero_points: tuple[int, int],
    factors: tuple[int, int],
    shift: int,
    output: Output,
    wide: str = "int32",
) -> Any:
    """a + b; broadcast as in NumPy.

    The factors share one shift. With 8-bit operands they are below 2^20, so that the sum fits
    int32; otherwise ``wide`` is int64.
    """
    dtypes = (str(a.dtype), str(b.dtype))
    simple = _one_constant(dtypes, zero_points, factors, shift, output) if wide == "int32" else None

    def moved(x: Any, zero: int, factor: int) -> Any:
        return (x.astype(wide) - tirx.const(zero, wide)) * tirx.const(factor, wide)

    def element(*indices: Any) -> Any:
        left, right = element_of(a, indices), element_of(b, indices)
        zero_point = output.zero_point
        if simple is None:
            total = moved(left, zero_points[0], factors[0])
            total = total + moved(right, zero_points[1], factors[1])
            value = shift_right_rounded(total, shift, wide, to_even=True)
        else:
            total = moved(left, 0, factors[0]) + tirx.const(simple.constant, wide)
            total = total + moved(right, 0, factors[1])
            value, zero_point = tirx.shift_right(total, tirx.const(shift, wide)), simple.zero_point
        return clamped(value, zero_point, output.low, output.high, output.dtype, wide)

    return te.compute(joint_shape(a.shape, b.shape), element, name="add")


def _one_constant(
    dtypes: tuple[str, str],
    zero_points: tuple[int, int],
    factors: tuple[int, int],
    shift: int,
    output: Output,
) -> _OneConstant | None:
    """The short form, where it gives the same codes for every pair of codes."""
    if not {*dtypes} <= {"int8", "uint8"}:
        return None
    limits = [np.iinfo(dtype) for dtype in dtypes]
    left, right = (
        np.arange(limit.min, limit.max + 1, dtype=np.int64) * factor
        for limit, factor in zip(limits, factors, strict=True)
    )
    products = left[:, None] + right
    center = sum(zero * factor for zero, factor in zip(zero_points, factors, strict=True))
    offset = half_offset(products - center, shift, output.zero_point, output.low, output.high)
    if offset is None:
        return None
    for inside in (output.zero_point, 0):
        constant = offset - center + (inside << shift)
        partial = (left, left + constant, products + constant, np.array(constant))
        if all(abs(values).max() < 1 << 31 for values in partial):
            return _OneConstant(constant, output.zero_point - inside)
    return None
