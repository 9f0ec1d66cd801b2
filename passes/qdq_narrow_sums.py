"""Channels of a linear layer whose bias alone would need int64 sums, for all channels of the layer.

A channel writes clamp(round(m (S + b)) + z), where its sum of products S lies in [lo, hi] for every
input there is. Weights and scale that are almost nothing make b huge and m tiny, so that S moves
the result by less than a step. Then S + b need not be computed as it stands:

    one code k for all S        no weights, b' = 8 (k - z), m' = 1/8
    k below T, k + 1 from T on  b' = 2^p (k - z + 1/2) - T, m' = 2^-p, with 2^p > hi - lo

The first row holds as m' b' = k - z; the second as |S - T| < 2^p, so that m' (S + b') lies from
k - z - 1/2 to k - z + 3/2 and reaches k - z + 1/2 where S = T. Both multipliers are exact in fixed
point. k and T come from rational arithmetic with the real m, halves upwards: there is no input for
which a code differs from that of the rounded product.

A channel of three codes or more has 1 / m < hi - lo, and a sum beyond 257 (hi - lo) saturates: what
is left of it is no matter of its bias, and the layer keeps int64.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, frexp

import numpy as np

from footprint_compiler.kernels.quantized import Output
from footprint_compiler.passes.qdq_graph import Quantized
from footprint_compiler.passes.qdq_scale import INT32_SUM, reach_of_sums

STEADY_BITS = 3
"""Of m' of a constant channel: small enough that it never sets the shift of the layer."""
HALF = Fraction(1, 2)


@dataclass(frozen=True)
class Channels:
    """What a linear layer adds and multiplies, channel by channel.

    Attributes:
        bias: integers (channels,), as float64 or int64.
        multiplier: real numbers (channels,).
        used: (channels,), False where the weights no longer matter and shall be zeros.
    """

    bias: np.ndarray
    multiplier: np.ndarray
    used: np.ndarray

    @classmethod
    def plain(cls, bias: np.ndarray, multiplier: np.ndarray) -> Channels:
        """All weights count."""
        return cls(bias, multiplier, np.ones(len(bias), bool))


def narrowed(rows: np.ndarray, channels: Channels, x: Quantized, output: Output) -> Channels | None:
    """The same codes from smaller sums, where every channel beyond int32 has one or two.

    Args:
        rows: weights (channels, taps).
        channels: what is added and multiplied now, all of it used.
    """
    bias, multiplier = channels.bias, channels.multiplier
    if not (np.isfinite(bias).all() and np.isfinite(multiplier).all() and multiplier.min() > 0):
        return None
    low, high = reach_of_sums(rows, x)
    found = Channels.plain(bias.copy(), multiplier.copy())
    for channel in np.flatnonzero(_too_large(np.maximum(high, -low), bias, multiplier)).tolist():
        ends = int(low[channel]), int(high[channel])
        exact = Fraction(multiplier[channel].item()), int(bias[channel])
        smaller = _constant(ends, *exact, output)
        found.used[channel] = smaller is None
        smaller = smaller or _threshold(ends, *exact, output)
        if smaller is None:
            return None
        found.bias[channel], found.multiplier[channel] = smaller
    return found


def _too_large(most: np.ndarray, bias: np.ndarray, multiplier: np.ndarray) -> np.ndarray:
    """Channels that do not fit int32 by themselves, or not with the shift that others need."""
    own = np.maximum(np.frexp(multiplier)[1], 0)
    sums = most + np.abs(bias)
    alone = sums * 2.0**own >= INT32_SUM
    shared = max((frexp(m)[1] for m in multiplier[~alone].tolist()), default=0)
    result: np.ndarray = alone | (sums * 2.0 ** max(shared, 0) >= INT32_SUM)
    return result


def _code(output: Output, m: Fraction, total: int) -> int:
    moved = floor(m * total + HALF) + output.zero_point
    return min(max(moved, output.low), output.high)


def _constant(
    ends: tuple[int, int], m: Fraction, bias: int, output: Output
) -> tuple[int, float] | None:
    """(b', m') where the least and the largest sum have one code."""
    first, last = (_code(output, m, end + bias) for end in ends)
    if first != last:
        return None
    return (first - output.zero_point) << STEADY_BITS, 2.0**-STEADY_BITS


def _threshold(
    ends: tuple[int, int], m: Fraction, bias: int, output: Output
) -> tuple[int, float] | None:
    """(b', m') where they have two codes that follow each other."""
    first, last = (_code(output, m, end + bias) for end in ends)
    if last - first != 1:
        return None
    step = first - output.zero_point
    turn = ceil((step + HALF) / m - bias)
    bits = (ends[1] - ends[0]).bit_length()
    return ((2 * step + 1) << (bits - 1)) - turn, 2.0**-bits
