"""How far a quantized model is from the float one: what every choice of the quantizer is judged by.

Outputs that go through a final Softmax are compared as probabilities at a temperature,

    loss = mean over samples of  T^2 KL( softmax(y / T) || softmax(y' / T) ),     T = 3,

since it is the order of the largest ones that matters; the temperature lets more than the two
largest count. All others by their noise, sum (y - y')^2 / sum y^2. The loss of a model is the sum
over its outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

TEMPERATURE = 3.0
HOPELESS = 1e12
"""Stands for outputs that are not finite."""


def loss(
    expected: Sequence[np.ndarray], got: Sequence[np.ndarray], squashed: Sequence[bool]
) -> float:
    """Of outputs before their Softmax, samples along the first axis.

    Args:
        squashed: for every output, whether it is followed by a Softmax over its last axis.
    """
    total = 0.0
    for y, z, probabilities in zip(expected, got, squashed, strict=True):
        if probabilities:
            total += _divergence(y / TEMPERATURE, z / TEMPERATURE) * TEMPERATURE**2
        else:
            total += float(np.sum((y - z) ** 2)) / max(float(np.sum(y**2)), 1e-30)
    return total if np.isfinite(total) else HOPELESS


def _divergence(y: np.ndarray, z: np.ndarray) -> float:
    first, second = _log_softmax(y), _log_softmax(z)
    return float((np.exp(first) * (first - second)).sum(axis=-1).mean())


def _log_softmax(x: np.ndarray) -> np.ndarray:
    shifted = x - x.max(axis=-1, keepdims=True)
    result: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result
