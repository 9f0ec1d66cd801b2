"""Whether a candidate computes what the default kernel computes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from footprint_compiler.tuning.trial import TrialFailed

FLOAT_TOLERANCE = 1e-5
"""Of the range of the default's output: sums may be taken in another order, no more."""


def check_same(expected: Sequence[np.ndarray], actual: Sequence[np.ndarray]) -> None:
    """Integers equal to the bit; floats within ``FLOAT_TOLERANCE`` of the output's range.

    Raises:
        TrialFailed: of kind ``wrong``, with the largest difference.
    """
    for want, have in zip(expected, actual, strict=True):
        if want.dtype.kind != "f":
            if not np.array_equal(want, have):
                count = int(np.count_nonzero(want != have))
                raise TrialFailed("wrong", f"{count} of {want.size} elements differ")
            continue
        finite = np.isfinite(want)
        if not np.array_equal(want[~finite], have[~finite], equal_nan=True) or not np.array_equal(
            finite, np.isfinite(have)
        ):
            raise TrialFailed("wrong", "other elements are infinite or no numbers")
        a, b = want[finite].astype(np.float64), have[finite].astype(np.float64)
        if a.size == 0:
            continue
        bound = FLOAT_TOLERANCE * max(float(np.ptp(a)), float(np.abs(a).max()), 1e-30)
        worst = float(np.abs(a - b).max())
        if worst > bound:
            raise TrialFailed("wrong", f"a difference of {worst:g}, with {bound:g} allowed")
