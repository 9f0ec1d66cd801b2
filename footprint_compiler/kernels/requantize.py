"""Requantization as TIR: ``footprint_compiler.quant.fixed_point`` states what it computes."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from footprint_compiler.kernels.rescale import rescaled
from footprint_compiler.quant.fixed_point import FRACTION_BITS


def requantized(
    accumulator: Any,
    mantissa: Any,
    left: int,
    zero_point: int,
    low: int,
    high: int,
    dtype: str,
    to_even: bool = False,
    fraction: int = FRACTION_BITS,
    wide: str = "int32",
    spare: bool = False,
) -> Any:
    """An accumulator scaled, shifted by the zero point, clamped and narrowed to ``dtype``.

    Args:
        accumulator: an expression of the dtype ``wide``, int32 or int64.
        mantissa: an int32 expression.
        left, zero_point, low, high, fraction: constants of the tensor.
        to_even: send halves to the even neighbour instead of up.
        spare: every mantissa is below 2^29.
    """
    if left:
        accumulator = tirx.shift_left(accumulator, tirx.const(left, "int32"))
    if wide == "int32" and fraction == FRACTION_BITS and not to_even:
        return clamped(rescaled(accumulator, mantissa, spare), zero_point, low, high, dtype)
    product = accumulator.astype("int64") * mantissa.astype("int64")
    value = shift_right_rounded(product, fraction, "int64", to_even)
    return clamped(value.astype(wide), zero_point, low, high, dtype, wide)


def shift_right_rounded(value: Any, bits: int, wide: str, to_even: bool) -> Any:
    """value / 2^bits to the nearest integer, in the dtype ``wide``.

    With q = floor(value / 2^bits), halves go up where q is odd: so half a unit is added then, and
    one less where q is even.
    """
    amount, half = tirx.const(bits, wide), 1 << (bits - 1)
    if not to_even:
        return tirx.shift_right(value + tirx.const(half, wide), amount)
    odd = tirx.bitwise_and(tirx.shift_right(value, amount), tirx.const(1, wide))
    return tirx.shift_right(value + tirx.const(half - 1, wide) + odd, amount)


def clamped(
    value: Any, zero_point: int, low: int, high: int, dtype: str, wide: str = "int32"
) -> Any:
    """Add the zero point, clamp and narrow; ``value`` has the dtype ``wide``."""
    moved = value + tirx.const(zero_point, wide)
    bounded = tirx.max(tirx.min(moved, tirx.const(high, wide)), tirx.const(low, wide))
    return bounded.astype(dtype)
