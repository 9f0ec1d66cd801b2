"""Inputs that a sensor or a file gave as integers: find their step.

Samples of a microphone or a camera are integers times a scale before a model sees them. Where all
values of an input are multiples of one step, and 256 codes are enough for them, that step is the
scale with no error at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from footprint_compiler.calibration.observers import LEVELS, Range

NEAR = 1e-3
"""Of a step: how far from a multiple rounding in float32 may bring a value."""


def lattice_range(arrays: Sequence[np.ndarray]) -> Range | None:
    """The range whose 256 codes hit every value of the arrays, zero included; None without one."""
    values = np.unique(np.concatenate([np.unique(array) for array in arrays]).astype(np.float64))
    if len(values) < 3 or len(values) > 4 * LEVELS or not np.isfinite(values).all():
        return None
    gaps = np.diff(values)
    step = float(gaps[gaps > NEAR * gaps.max()].min())
    extreme = float(values[np.abs(values).argmax()])
    step = abs(extreme) / max(round(abs(extreme) / step), 1)  # the largest multiple is most exact
    codes = np.rint(values / step)
    if np.abs(values - codes * step).max() > NEAR * step:
        return None
    low, high = min(int(codes[0]), 0), max(int(codes[-1]), 0)
    spare = LEVELS - 1 - (high - low)
    if spare < 0:
        return None
    if low < 0:
        low -= spare // 2
    return low * step, (low + LEVELS - 1) * step
