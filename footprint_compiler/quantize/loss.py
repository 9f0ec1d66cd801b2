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


def losses(
    expected: Sequence[np.ndarray], got: Sequence[np.ndarray], squashed: Sequence[bool]
) -> np.ndarray:
    """Of each sample, from outputs before their Softmax, samples along the first axis.

    Args:
        squashed: for every output, whether it is followed by a Softmax over its last axis.

    Returns:
        Their mean is the loss.
    """
    total = np.zeros(len(expected[0]) if expected else 1)
    for y, z, probabilities in zip(expected, got, squashed, strict=True):
        if probabilities:
            found = _divergence(y / TEMPERATURE, z / TEMPERATURE) * TEMPERATURE**2
            total += found.reshape(len(y), -1).mean(axis=1)
        else:
            noise = ((y - z) ** 2).reshape(len(y), -1).sum(axis=1)
            total += noise * len(y) / max(float(np.sum(y**2)), 1e-30)
    return np.where(np.isfinite(total), total, HOPELESS)


def loss(
    expected: Sequence[np.ndarray], got: Sequence[np.ndarray], squashed: Sequence[bool]
) -> float:
    """Of all samples, see ``losses``."""
    return float(losses(expected, got, squashed).mean())


def is_better(found: np.ndarray, before: np.ndarray, errors: float) -> bool:
    """Whether losses of the same samples fell, by so many standard errors of the mean change.

    Without that, the best of many candidates over few samples is the luckiest. Less than 0: whether
    they did not rise by so many.
    """
    change = before - found
    spread = float(change.std(ddof=1)) / np.sqrt(len(change)) if len(change) > 1 else 0.0
    return bool(change.mean() > errors * spread)


def _divergence(y: np.ndarray, z: np.ndarray) -> np.ndarray:
    first, second = _log_softmax(y), _log_softmax(z)
    found: np.ndarray = (np.exp(first) * (first - second)).sum(axis=-1)
    return found


def _log_softmax(x: np.ndarray) -> np.ndarray:
    shifted = x - x.max(axis=-1, keepdims=True)
    result: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result
