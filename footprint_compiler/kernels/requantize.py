"""Requantization as TIR: ``footprint_compiler.quant.fixed_point`` states what it computes."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from footprint_compiler.quant.fixed_point import FRACTION_BITS, HALF


def requantized(
    accumulator: Any, mantissa: Any, left: int, zero_point: int, low: int, high: int, dtype: str
) -> Any:
    """An int32 expression scaled, shifted by the zero point, clamped and narrowed to ``dtype``.

    Args:
        accumulator, mantissa: int32 expressions.
        left, zero_point, low, high: constants of the tensor.
    """
    if left:
        accumulator = tirx.shift_left(accumulator, tirx.const(left, "int32"))
    product = accumulator.astype("int64") * mantissa.astype("int64") + tirx.const(HALF, "int64")
    # Bits 31 to 62 are the same for an arithmetic and a logical shift; vector units have the latter.
    shifted = tirx.shift_right(product.astype("uint64"), tirx.const(FRACTION_BITS, "uint64"))
    value = shifted.astype("int32") + tirx.const(zero_point, "int32")
    clamped = tirx.max(
        tirx.min(value, tirx.const(high, "int32")), tirx.const(low, "int32")
    )
    return clamped.astype(dtype)
