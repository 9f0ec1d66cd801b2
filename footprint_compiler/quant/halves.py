"""Rounding halves to even without looking at them, where every sum is known beforehand.

A sum of two 8-bit tensors takes at most 2^16 values. Few of them, often none, lie exactly halfway
between two integers, and where the even neighbours of all those lie on the same side, or the clamp
hides the difference,

    to_even(x / 2^s) = floor((x + offset) / 2^s)    with offset = 2^(s-1)       halves up
                                                    or offset = 2^(s-1) - 1     halves down
"""

from __future__ import annotations

import numpy as np

from footprint_compiler.quant.fixed_point import saturate, shift_right_rounded


def half_offset(sums: np.ndarray, bits: int, zero_point: int, low: int, high: int) -> int | None:
    """The offset that gives the same codes as rounding to even; None where neither does.

    Args:
        sums: every value that can occur, int64.
        bits: s, at least 1.
        zero_point, low, high: of the codes.
    """
    wanted = saturate(shift_right_rounded(sums, bits, True), zero_point, low, high)
    half = 1 << (bits - 1)
    for offset in (half, half - 1):
        codes = saturate((sums + offset) >> bits, zero_point, low, high)
        if np.array_equal(codes, wanted):
            return offset
    return None
