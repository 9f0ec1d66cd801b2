"""Requantization: the one definition of how an accumulator becomes a quantized value.

    requantize(acc) = floor(((acc << left) * M + 2^30) / 2^31),   M = round(m * 2^(31 - left))

with an exact 64-bit product, so that the result is acc * m rounded to the nearest integer, halves
towards plus infinity, up to the rounding of M (relative 2^-31 / m). ``left`` is 0 for every m < 1.

Sums that may leave int32 (16-bit tensors, mostly) are int64 accumulators. Their multiplier has as
many fraction bits F as keep |acc| * M below 2^62 for every accumulator that can occur, and M in
int32; nothing is shifted left, and the rest is the same, again with an exact product:

    requantize(acc) = floor((acc * M + 2^(F - 1)) / 2^F),   M = round(m * 2^F)

``to_even`` sends halves to the even neighbour instead. Averages, sums and products of two tensors
use it: their multipliers are often ratios of small integers, and then halves are common.

Why halves of a convolution go up and not to the even neighbour, as in QuantizeLinear: it is what
one instruction gives on the cores that matter (SQRDMULH on Armv8-A, SMMULR on Armv7E-M with 2M),
and one addition elsewhere. The two rules differ by one only where acc * m is exactly halfway
between two integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp

import numpy as np

FRACTION_BITS = 31
PRODUCT_BITS = 62
"""Products of an int64 accumulator and a mantissa have at most these, and a sign."""


@dataclass(frozen=True)
class Multiplier:
    """m as ``mantissa * 2^(left - fraction)``.

    Attributes:
        mantissa: int32 values, one for each channel or one for all; |mantissa| < 2^31.
        left: bits that the accumulator is shifted left first; 0 for m < 1.
        fraction: F; 31 for int32 accumulators.
    """

    mantissa: tuple[int, ...]
    left: int
    fraction: int = FRACTION_BITS


def fixed_point(multipliers: float | np.ndarray) -> Multiplier:
    """The fixed-point form of one real multiplier, or of one for each channel.

    Args:
        multipliers: positive and finite, below 2^15.

    Raises:
        ValueError: a multiplier is out of range.
    """
    values = np.atleast_1d(np.asarray(multipliers, dtype=np.float64)).ravel()
    largest = float(values.max())
    if not np.all(np.isfinite(values)) or float(values.min()) < 0 or largest >= 2**15:
        raise ValueError(f"multiplier out of range: {values.min()} to {largest}")
    left = max(0, frexp(largest)[1])
    mantissa = np.rint(np.ldexp(values, FRACTION_BITS - left)).astype(np.int64)
    if int(mantissa.max()) > 2**31 - 1:
        left += 1
        mantissa = np.rint(np.ldexp(values, FRACTION_BITS - left)).astype(np.int64)
    return Multiplier(tuple(int(value) for value in mantissa), left)


def wide_fixed_point(multipliers: float | np.ndarray, bound: int) -> Multiplier:
    """The form for int64 accumulators.

    Args:
        multipliers: positive and finite.
        bound: the largest magnitude that an accumulator can have, below 2^61.

    Raises:
        ValueError: a multiplier is out of range, or no bit is left for its fraction.
    """
    values = np.atleast_1d(np.asarray(multipliers, dtype=np.float64)).ravel()
    largest = float(values.max())
    if not np.all(np.isfinite(values)) or float(values.min()) < 0 or largest >= 2.0**30:
        raise ValueError(f"multiplier out of range: {values.min()} to {largest}")
    exponent = frexp(largest)[1]
    room = PRODUCT_BITS - int(bound).bit_length()
    fraction = min(room, FRACTION_BITS) - exponent
    if int(np.rint(largest * 2.0**fraction)) > 2**31 - 1:
        fraction -= 1
    fraction = min(fraction, PRODUCT_BITS)
    if fraction < 1:
        raise ValueError(f"no room for the multiplier {largest} of sums up to {bound}")
    mantissa = np.rint(np.ldexp(values, fraction)).astype(np.int64)
    return Multiplier(tuple(int(value) for value in mantissa), 0, fraction)


def requantize(
    accumulator: np.ndarray, multiplier: Multiplier, to_even: bool = False
) -> np.ndarray:
    """The definition, on accumulators whose last axis is the channel; int64 out."""
    shifted = accumulator.astype(np.int64) << multiplier.left
    product = shifted * np.asarray(multiplier.mantissa, dtype=np.int64)
    return shift_right_rounded(product, multiplier.fraction, to_even)


def shift_right_rounded(value: np.ndarray, bits: int, to_even: bool) -> np.ndarray:
    """value / 2^bits to the nearest integer, halves up or to even."""
    moved = value + (1 << (bits - 1))
    result: np.ndarray = moved >> bits
    if to_even:
        half = (moved & ((1 << bits) - 1)) == 0
        result = result - (half & (result & 1))
    return result


def saturate(values: np.ndarray, zero_point: int, low: int, high: int) -> np.ndarray:
    """Add the zero point and clamp."""
    clamped: np.ndarray = np.clip(values + zero_point, low, high)
    return clamped
