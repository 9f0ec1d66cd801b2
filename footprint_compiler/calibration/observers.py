"""From what was seen of a tensor to the range that its codes will cover.

=================  ===============================================================================
min-max            everything that was seen
moving-average     mean of the extremes of single samples, later samples counting more
percentile         all but 0.01 % of the values at each end
entropy            least Kullback-Leibler divergence of the clipped and quantized histogram from
                   the one that was seen
mse                least mean squared error of clipping and rounding together
=================  ===============================================================================

The last two search: each end of the range, in turn, over ``STEPS`` fractions of its extreme.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from footprint_compiler.calibration.statistics import TensorStatistics

Range = tuple[float, float]
Cost = Callable[[np.ndarray, np.ndarray, float, float], float]

STEPS = 48
SMALLEST = 0.04
LEVELS = 256
MOMENTUM = 0.9
TAIL = 1e-4


def min_max(seen: TensorStatistics) -> Range:
    """The extremes."""
    return seen.low, seen.high


def moving_average(seen: TensorStatistics) -> Range:
    """Exponential average of the extremes of each sample."""
    low, high = float(seen.lows[0]), float(seen.highs[0])
    for least, most in zip(seen.lows[1:], seen.highs[1:], strict=True):
        low = MOMENTUM * low + (1 - MOMENTUM) * float(least)
        high = MOMENTUM * high + (1 - MOMENTUM) * float(most)
    return low, high


def percentile(seen: TensorStatistics) -> Range:
    """Ends that cut off at most ``TAIL`` of all values each, at whole bins."""
    width = (seen.high - seen.low) / len(seen.counts)
    share = np.cumsum(seen.counts) / max(int(seen.counts.sum()), 1)
    first = int(np.searchsorted(share, TAIL, side="right"))
    last = int(np.searchsorted(share, 1 - TAIL, side="left"))
    return seen.low + first * width, seen.low + (last + 1) * width


def entropy(seen: TensorStatistics) -> Range:
    """Least divergence."""
    return _search(seen, _divergence)


def mse(seen: TensorStatistics) -> Range:
    """Least squared error."""
    return _search(seen, _squared_error)


OBSERVERS: dict[str, Callable[[TensorStatistics], Range]] = {
    "min-max": min_max,
    "moving-average": moving_average,
    "percentile": percentile,
    "entropy": entropy,
    "mse": mse,
}


def _search(seen: TensorStatistics, cost: Cost) -> Range:
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    if seen.high <= seen.low:
        return low, high
    edges = np.linspace(seen.low, seen.high, len(seen.counts) + 1)
    counts, centres = seen.counts.astype(np.float64), (edges[:-1] + edges[1:]) / 2
    fractions = np.linspace(SMALLEST, 1.0, STEPS)
    for _ in range(2 if low < 0 < high else 1):
        if high > 0:
            costs = [cost(counts, centres, low, high * f) for f in fractions]
            best_high = high * float(fractions[int(np.argmin(costs))])
        else:
            best_high = high
        if low < 0:
            costs = [cost(counts, centres, low * f, best_high) for f in fractions]
            low *= float(fractions[int(np.argmin(costs))])
        high = best_high
        fractions = np.linspace(0.85, 1.0, STEPS // 3)
    return low, high


def _squared_error(counts: np.ndarray, centres: np.ndarray, low: float, high: float) -> float:
    step = max((high - low) / (LEVELS - 1), 1e-30)
    rounded = low + np.rint((np.clip(centres, low, high) - low) / step) * step
    # A centre stands for its bin: rounding within the bin adds a constant that cancels.
    return float(counts @ (rounded - centres) ** 2 + counts.sum() * step**2 / 12)


def _divergence(counts: np.ndarray, centres: np.ndarray, low: float, high: float) -> float:
    """KL(seen || clipped and quantized); what is clipped lies in the outermost codes."""
    step = max((high - low) / (LEVELS - 1), 1e-30)
    codes = np.rint((np.clip(centres, low, high) - low) / step).astype(np.int64)
    inside = (centres >= low) & (centres <= high)
    if not inside.any():
        return np.inf
    filled = inside & (counts > 0)
    total = np.bincount(codes[inside], counts[inside], LEVELS)
    bins = np.bincount(codes[filled], minlength=LEVELS)
    spread = np.where(filled, total[codes] / np.maximum(bins[codes], 1), 0.0)
    clipped = np.where(inside, counts, 0.0)
    first, last = np.flatnonzero(inside)[[0, -1]]
    clipped[first] += counts[:first].sum()
    clipped[last] += counts[last + 1 :].sum()
    p, q = clipped / clipped.sum(), spread / max(spread.sum(), 1e-30)
    used = p > 0
    return float(np.sum(p[used] * np.log(p[used] / np.maximum(q[used], 1e-9))))
