"""Scale and zero point: real = scale * (q - zero_point).

Zero is always a code, exactly: padding and clamps rely on it. Activations are asymmetric int8 with
one scale, weights symmetric int8 in [-127, 127] with one scale per output channel, biases int32 at
the product of both scales.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LOW, HIGH = -128, 127
MAX_WEIGHT = 127
MAX_BIAS = 1 << 28
"""Of a bias code: far from the ends of int32, so that no accumulator leaves it."""
_TINY = 1e-12


@dataclass(frozen=True)
class Affine:
    """Parameters of one activation."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class Weights:
    """Integer weights and bias of a linear operator; ``scale`` has one entry per channel."""

    codes: np.ndarray
    scale: np.ndarray
    bias: np.ndarray | None
    bias_scale: np.ndarray


def affine(low: float, high: float) -> Affine:
    """Parameters whose codes cover [low, high] and zero.

    A range that ends at zero keeps that end exactly; others move by half a step at most.
    """
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    scale = np.float32(max((high - low) / (HIGH - LOW), _TINY))
    zero = int(np.clip(np.rint(LOW - low / float(scale)), LOW, HIGH))
    return Affine(float(scale), zero)


def fake_quantize(x: np.ndarray, parameters: Affine) -> np.ndarray:
    """Real numbers after a round trip through the codes, in float32 as ONNX defines it."""
    codes = np.rint(x / np.float32(parameters.scale)) + parameters.zero_point
    clipped = np.clip(codes, LOW, HIGH) - parameters.zero_point
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
    codes: np.ndarray | None = None,
) -> Weights:
    """Symmetric weights with a scale for each channel along ``axis``.

    Args:
        codes: the weights' codes, where something better than rounding chose them.
    """
    spread = [1] * weights.ndim
    spread[axis] = -1
    scale = channel_limits(weights, axis) / MAX_WEIGHT
    if bias is not None:  # a channel with tiny weights and a large bias needs coarser steps
        scale = np.maximum(scale, np.abs(bias.astype(np.float64)) / (input_scale * MAX_BIAS))
    scale = np.where(scale > _TINY, scale, 1.0).astype(np.float32)
    if codes is None:
        ratio = weights.astype(np.float64) / scale.astype(np.float64).reshape(spread)
        codes = np.clip(np.rint(ratio), -MAX_WEIGHT, MAX_WEIGHT)
    bias_scale = np.float32(input_scale) * scale
    biases = None
    if bias is not None:
        biases = np.rint(bias.astype(np.float64) / bias_scale).astype(np.int32)
    return Weights(codes.astype(np.int8), scale, biases, bias_scale)
