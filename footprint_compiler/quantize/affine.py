"""Scale and zero point: real = scale * (q - zero_point).

Zero is always a code, exactly: padding and clamps rely on it. Activations have one scale: 8 bits
are asymmetric, 16 bits symmetric. Weights are symmetric with one scale per output channel, in
[-127, 127] or, with 4 bits, in [-7, 7]; biases are int32 at the product of both scales.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LOW, HIGH = -128, 127
WIDE_HIGH = 32767
MAX_WEIGHT = {8: 127, 4: 7}
"""Bits -> largest absolute code of a weight."""
MAX_BIAS = 1 << 28
"""Of a bias code: far from the ends of int32, so that no accumulator leaves it."""
_TINY = 1e-12
_FRACTIONS = np.linspace(0.5, 1.0, 26)


@dataclass(frozen=True)
class Affine:
    """Parameters of one activation of 8 or 16 bits."""

    scale: float
    zero_point: int
    bits: int = 8

    @property
    def dtype(self) -> type[np.signedinteger]:
        """Of the codes."""
        return np.int8 if self.bits == 8 else np.int16


@dataclass(frozen=True)
class Weights:
    """Integer weights and bias of a linear operator; ``scale`` has one entry per channel."""

    codes: np.ndarray
    scale: np.ndarray
    bias: np.ndarray | None
    bias_scale: np.ndarray
    bits: int = 8


@dataclass(frozen=True)
class Learned:
    """Codes that something better than rounding chose, for weights with this scale."""

    codes: np.ndarray
    scale: np.ndarray


def affine(low: float, high: float, bits: int = 8) -> Affine:
    """Parameters whose codes cover [low, high] and zero.

    With 8 bits, a range that ends at zero keeps that end exactly; others move by half a step at
    most. With 16 bits zero is code 0.
    """
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if bits == 16:
        return Affine(float(np.float32(max(high, -low, _TINY) / WIDE_HIGH)), 0, 16)
    scale = np.float32(max((high - low) / (HIGH - LOW), _TINY))
    zero = int(np.clip(np.rint(LOW - low / float(scale)), LOW, HIGH))
    return Affine(float(scale), zero)


def fake_quantize(x: np.ndarray, parameters: Affine) -> np.ndarray:
    """Real numbers after a round trip through the codes, in float32 as ONNX defines it."""
    codes = np.rint(x / np.float32(parameters.scale)) + parameters.zero_point
    limits = np.iinfo(parameters.dtype)
    clipped = np.clip(codes, limits.min, limits.max) - parameters.zero_point
    result: np.ndarray = (clipped * np.float32(parameters.scale)).astype(np.float32)
    return result


def channel_limits(weights: np.ndarray, axis: int) -> np.ndarray:
    """Largest absolute weight of each output channel."""
    others = tuple(i for i in range(weights.ndim) if i != axis)
    limits: np.ndarray = np.abs(weights).max(axis=others, initial=0.0).astype(np.float64)
    return limits


def quantize_weights(
    weights: np.ndarray,
    bias: np.ndarray | None,
    input_scale: float,
    axis: int,
    learned: Learned | None = None,
    bits: int = 8,
) -> Weights:
    """Symmetric weights with a scale for each channel along ``axis``.

    Args:
        learned: used where it was made for the scale that results here.
    """
    most = MAX_WEIGHT[bits]
    spread = [1] * weights.ndim
    spread[axis] = -1
    scale = channel_limits(weights, axis) / most
    if bits < 8:
        scale = scale * _best_fractions(weights, scale, axis, most)
    if bias is not None:  # a channel with tiny weights and a large bias needs coarser steps
        scale = np.maximum(scale, np.abs(bias.astype(np.float64)) / (input_scale * MAX_BIAS))
    scale = np.where(scale > _TINY, scale, 1.0).astype(np.float32)
    if learned is not None and np.array_equal(learned.scale, scale):
        codes = learned.codes
    else:
        ratio = weights.astype(np.float64) / scale.astype(np.float64).reshape(spread)
        codes = np.clip(np.rint(ratio), -most, most)
    bias_scale = np.float32(input_scale) * scale
    biases = None
    if bias is not None:
        biases = np.rint(bias.astype(np.float64) / bias_scale).astype(np.int32)
    return Weights(codes.astype(np.int8), scale, biases, bias_scale, bits)


def _best_fractions(weights: np.ndarray, scale: np.ndarray, axis: int, most: int) -> np.ndarray:
    """For each channel the fraction of its scale with the least squared error of its weights."""
    rows = np.moveaxis(weights.astype(np.float64), axis, 0).reshape(len(scale), -1)
    steps = np.where(scale > _TINY, scale, 1.0)[:, None]
    errors = []
    for fraction in _FRACTIONS:
        codes = np.clip(np.rint(rows / (steps * fraction)), -most, most)
        errors.append(((codes * steps * fraction - rows) ** 2).sum(axis=1))
    best: np.ndarray = _FRACTIONS[np.argmin(errors, axis=0)]
    return best
