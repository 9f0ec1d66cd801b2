"""Which offset rounds like halves to even."""

from __future__ import annotations

import numpy as np
import pytest

from footprint_compiler.quant.halves import half_offset


def offset_of(sums: list[int], zero_point: int = 0) -> int | None:
    return half_offset(np.array(sums, np.int64), 4, zero_point, -128, 127)


@pytest.mark.parametrize(
    ("sums", "wanted"),
    [
        ([0, 7, 9, -9], 8),  # no halves
        ([24, 56, -8], 8),  # 1.5, 3.5 and -0.5 go up
        ([8, 40, -24], 7),  # 0.5, 2.5 and -1.5 go down
        ([8, 24], None),  # one of each
        ([24, 8 + 16 * 400], 8),  # 400.5 is clamped either way
    ],
)
def test_offset(sums: list[int], wanted: int | None) -> None:
    assert offset_of(sums) == wanted


def test_the_clamp_depends_on_the_zero_point() -> None:
    """130.5 is clamped, and with a zero point of -10 it is not."""
    sums = [24, 8 + 16 * 130]
    assert offset_of(sums) == 8
    assert offset_of(sums, -10) is None
