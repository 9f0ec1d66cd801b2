"""Bounds of activations: what an int8 tensor can hold limits everything computed from it.

A quantized activation is at most s (127 - z) and at least s (-128 - z); weights carry such bounds
through a layer, and a channel that Relu, Clip or QuantizeLinear maps to one value for all of them
is as constant as one behind zeros. Interval arithmetic in float64, widened by more than float32
sums can round: n terms are off by less than n + 4 times 2**-23 of the sum of their magnitudes.
"""

from __future__ import annotations

import numpy as np

Bounds = tuple[np.ndarray, np.ndarray]
STEP = 2.0**-23
SLACK = 2.0**-20


def widened(bounds: Bounds, magnitude: np.ndarray, terms: int) -> Bounds:
    """Bounds that hold after rounding a sum of ``terms`` whose magnitudes add up to this."""
    margin = magnitude * ((terms + 4) * STEP)
    return bounds[0] - margin, bounds[1] + margin


def of_dtype(dtype: np.dtype) -> Bounds | None:
    """Limits of an integer type of at most 16 bits."""
    if dtype.kind not in "iu" or dtype.itemsize > 2:
        return None
    limits = np.iinfo(dtype)
    return np.asarray([float(limits.min)]), np.asarray([float(limits.max)])


def overall(bounds: Bounds) -> Bounds:
    """One interval for all channels."""
    return bounds[0].min(keepdims=True), bounds[1].max(keepdims=True)


def with_zero(bounds: Bounds) -> Bounds:
    """Bounds that hold for padding too."""
    return np.minimum(bounds[0], 0), np.maximum(bounds[1], 0)


def of_sum(weights: np.ndarray, bias: np.ndarray, data: Bounds) -> Bounds:
    """Bounds of ``sum_c weights[o, c, ...] x[c] + bias[o]``.

    Args:
        weights: filters first, then input channels.
        bias: one per filter, or a scalar.
        data: bounds of x, padding included; arrays that broadcast to (filters, channels, 1).
    """
    flat = weights.astype(np.float64).reshape(*weights.shape[:2], -1)
    low, high = data
    below = np.minimum(flat * low, flat * high).sum(axis=(1, 2))
    above = np.maximum(flat * low, flat * high).sum(axis=(1, 2))
    size = (np.abs(flat) * np.maximum(np.abs(low), np.abs(high))).sum(axis=(1, 2))
    return widened((below + bias, above + bias), size + np.abs(bias), flat[0].size + 1)


def of_dequantized(data: Bounds, scale: np.ndarray, zero: np.ndarray) -> Bounds:
    """``scale (q - zero)``, per tensor."""
    step = float(scale.item())
    return (data[0] - float(zero.item())) * step, (data[1] - float(zero.item())) * step


def of_quantized(data: Bounds, scale: np.ndarray, zero: np.ndarray) -> Bounds:
    """Levels of ``round(x / scale) + zero``, saturated; never too narrow."""
    step, limits = float(scale.item()), np.iinfo(zero.dtype)
    low, high = (edge / step for edge in data)
    low, high = low - SLACK * (np.abs(low) + 1), high + SLACK * (np.abs(high) + 1)
    low, high = (np.rint(edge) + float(zero.item()) for edge in (low, high))
    return np.clip(low, limits.min, limits.max), np.clip(high, limits.min, limits.max)


def of_added(first: Bounds, second: Bounds) -> Bounds:
    """The sum of two tensors."""
    size = sum(np.maximum(np.abs(low), np.abs(high)) for low, high in (first, second))
    return widened((first[0] + second[0], first[1] + second[1]), np.asarray(size), 2)
