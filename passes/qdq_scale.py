"""From a real multiplier to ``quant.fixed_point``'s form, with the accumulator that it needs.

An accumulator is int32 where no sum of any input can leave 30 bits after the shift to the left;
otherwise int64. The bound is exact: it comes from the weights themselves and the codes that the
input's dtype has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from footprint_compiler.kernels.quantized import Scaling
from footprint_compiler.passes.qdq_graph import LIMITS, Quantized
from footprint_compiler.quant.fixed_point import Multiplier, fixed_point, wide_fixed_point

INT32_SUM = 2**30
LARGEST_RESULT = 2**17
"""Results beyond saturate in every dtype, so that their rounding does not matter."""
ROUNDING = 1 / 16


@dataclass(frozen=True)
class Requantization:
    """A multiplier in fixed point and what its accumulator is."""

    multiplier: Multiplier
    scaling: Scaling

    @property
    def mantissa(self) -> int:
        """The mantissa where there is one for the whole tensor."""
        return self.multiplier.mantissa[0]


def requantization(
    multipliers: float | np.ndarray | Sequence[float], bound: float
) -> Requantization | None:
    """The form for sums of magnitude up to ``bound``.

    None where not even int64 holds them, or leaves so few bits for the multiplier that its rounding
    could cost more than ``ROUNDING`` steps.
    """
    values = np.asarray(multipliers, dtype=np.float64)
    try:
        narrow = fixed_point(values)
        if bound * 2.0**narrow.left < INT32_SUM:
            return Requantization(narrow, Scaling.of(narrow))
    except ValueError:
        pass  # too large a multiplier for an int32 accumulator
    if bound >= 2.0**61:
        return None
    try:
        wide = wide_fixed_point(values, int(np.ceil(bound)))
    except ValueError:
        return None
    with np.errstate(divide="ignore"):
        unsaturated = np.minimum(bound, LARGEST_RESULT / values)
    if float(unsaturated.max()) * 2.0 ** -(wide.fraction + 1) > ROUNDING:
        return None
    return Requantization(wide, Scaling(0, wide.fraction, "int64"))


def reach(x: Quantized) -> tuple[int, int]:
    """The least and the largest difference of a code of ``x`` and its zero point."""
    low, high = LIMITS[str(x.expr.ty.dtype)]
    zero = int(x.zero_point[0])
    return low - zero, high - zero


def largest(x: Quantized) -> int:
    """The largest magnitude of a code less the zero point."""
    return max(abs(value) for value in reach(x))


def reach_of_sums(rows: np.ndarray, x: Quantized) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest sum (q - z) w of each channel over all inputs, partial sums too.

    Args:
        rows: weights (channels, taps).
    """
    low, high = (float(value) for value in reach(x))
    low, high = min(low, 0.0), max(high, 0.0)  # a tap outside the image adds nothing
    weights = rows.astype(np.float64)
    up, down = np.maximum(weights, 0).sum(axis=1), np.minimum(weights, 0).sum(axis=1)
    return up * low + down * high, up * high + down * low


def sum_bound(rows: np.ndarray, bias: np.ndarray, x: Quantized) -> float:
    """The largest magnitude of sum (q - z) w + b over all inputs, partial sums included.

    Args:
        rows: weights (channels, taps).
        bias: integers (channels,).
    """
    low, high = reach_of_sums(rows, x)
    return float((np.maximum(high, -low) + np.abs(bias)).max())
