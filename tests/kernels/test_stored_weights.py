"""Stored weights: every number comes back, in half the bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from footprint_compiler.kernels.stored_weights import Stored, stored_form

FORMS = [
    ([-8, 7], Stored(4, -8)),
    ([0, 15], Stored(4, 0)),
    ([-15, -3], Stored(4, -15)),
    ([5, 12], Stored(4, 0)),
    ([-8, 8], None),
    ([3, 16], None),
    ([-128, 127], None),
    ([-128, 128], None),
    ([-127, 128], Stored(8, -127)),
    ([-255, -9], Stored(8, -255)),
    ([9, 255], Stored(8, 0)),
]


@pytest.mark.parametrize(("ends", "form"), FORMS)
def test_the_form_is_the_smallest_that_holds_all_numbers_and_zero(
    ends: list[int], form: Stored | None
) -> None:
    assert stored_form(np.array(ends)) == form


@given(st.lists(st.integers(-6, 8), min_size=1, max_size=9), st.sampled_from([-6, -7]))
def test_half_bytes_hold_the_numbers_in_order(numbers: list[int], low: int) -> None:
    packed = Stored(4, low).pack(np.array(numbers))
    assert packed.dtype == np.uint8
    assert packed.size == Stored(4, low).size(len(numbers)) == (len(numbers) + 1) // 2
    unpacked = np.stack([packed & 15, packed >> 4], axis=1).ravel()[: len(numbers)]
    np.testing.assert_array_equal(unpacked.astype(int) + low, numbers)


def test_bytes_hold_the_numbers_in_order() -> None:
    numbers = np.arange(-100, 156)
    np.testing.assert_array_equal(Stored(8, -100).pack(numbers).astype(int) - 100, numbers)
