"""Requantization against exact rational arithmetic."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from footprint_compiler.quant.fixed_point import (
    FRACTION_BITS,
    fixed_point,
    requantize,
    saturate,
    shift_right_rounded,
    wide_fixed_point,
)

EDGES = [
    2.0**-40, 2.0**-31, 2.0**-20, 1e-6, 0.1, 1 / 3, 0.25, 0.5, 0.75, 1 - 2.0**-31, 1 - 2.0**-40,
    1.0, 1 + 2.0**-20, 1.5, 2.0, 3.7, 128.0, 2.0**15 - 1,
]  # fmt: skip
INT32 = 2**31


def nearest(value: Fraction, to_even: bool) -> int:
    """Round to the nearest integer, halves up or to even."""
    return round(value) if to_even else floor(value + Fraction(1, 2))


def all_outcomes(multiplier: float) -> np.ndarray:
    """Accumulators that give every int8 result and the borders between them, and extremes."""
    steps = np.arange(-1100, 1101) / 4
    middle = np.rint(steps / multiplier) if 512 / multiplier < INT32 else np.zeros(1)
    near = (middle[:, None] + np.arange(-2, 3)).ravel()
    limit = INT32 / 2 / max(1, 2.0 ** fixed_point(multiplier).left)
    near = near[np.abs(near) < limit]
    return np.concatenate([near, [-limit, limit - 1, 0, 1, -1]]).astype(np.int64)


@pytest.mark.parametrize("to_even", [False, True])
@pytest.mark.parametrize("multiplier", EDGES)
def test_is_the_stated_formula_in_exact_arithmetic(multiplier: float, to_even: bool) -> None:
    form = fixed_point(multiplier)
    accumulators = all_outcomes(multiplier)
    got = requantize(accumulators, form, to_even)
    exact = Fraction(form.mantissa[0], 2 ** (FRACTION_BITS - form.left))
    want = [nearest(int(a) * exact, to_even) for a in accumulators]
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("multiplier", EDGES)
def test_multiplier_is_within_half_a_unit_of_its_last_place(multiplier: float) -> None:
    form = fixed_point(multiplier)
    unit = Fraction(2**form.left, 2**FRACTION_BITS)
    assert 0 <= form.mantissa[0] < INT32
    assert abs(form.mantissa[0] * unit - Fraction(multiplier)) <= unit / 2
    assert form.left == 0 or multiplier > 1 - 2.0**-31
    assert form.left == 0 or form.mantissa[0] >= INT32 // 4


@pytest.mark.parametrize("multiplier", [0.5, 0.25, 1.0, 1.5, 2.0, 128.0])
@pytest.mark.parametrize("to_even", [False, True])
def test_representable_multipliers_round_the_real_product(multiplier: float, to_even: bool) -> None:
    accumulators = all_outcomes(multiplier)
    want = [nearest(int(a) * Fraction(multiplier), to_even) for a in accumulators]
    np.testing.assert_array_equal(requantize(accumulators, fixed_point(multiplier), to_even), want)


def test_halves() -> None:
    odd = np.array([-5, -3, -1, 1, 3, 5])
    form = fixed_point(0.5)
    np.testing.assert_array_equal(requantize(odd, form), [-2, -1, 0, 1, 2, 3])
    np.testing.assert_array_equal(requantize(odd, form, to_even=True), [-2, -2, 0, 0, 2, 2])


def test_channels_of_very_different_scale() -> None:
    values = np.array([0.9, 0.9 * 2.0**-10, 0.9 * 2.0**-20])
    form = fixed_point(values)
    rng = np.random.default_rng(0)
    accumulators = rng.integers(-(2**24), 2**24, (200, 3))
    got = requantize(accumulators, form)
    for row, result in zip(accumulators, got, strict=True):
        for a, m, r in zip(row, values, result, strict=True):
            error = abs(Fraction(int(r)) - int(a) * Fraction(float(m)))
            assert error <= Fraction(1, 2) + abs(int(a)) * Fraction(1, 2**32)


def test_no_intermediate_leaves_64_bits() -> None:
    """The largest product in magnitude, in Python integers and in NumPy's."""
    form = fixed_point(1 - 2.0**-31)
    extremes = np.array([-INT32, INT32 - 1])
    want = [(int(a) * form.mantissa[0] + 2**30) >> 31 for a in extremes]
    np.testing.assert_array_equal(requantize(extremes, form), want)
    assert max(abs(int(a) * form.mantissa[0]) for a in extremes) + 2**30 < 2**63


WIDE = [(2.0**-40, 2**50), (1e-6, 2**40), (1 / 3, 2**31), (0.5, 2**33), (1.0, 2**38),
        (1 - 2.0**-40, 2**33), (37.3, 2**34), (1e5, 2**20),
        (2.0**20, 2**36), (3.3, 255)]  # fmt: skip


@pytest.mark.parametrize("to_even", [False, True])
@pytest.mark.parametrize(("multiplier", "bound"), WIDE)
def test_wide_is_the_stated_formula_in_exact_arithmetic(
    multiplier: float, bound: int, to_even: bool
) -> None:
    form = wide_fixed_point(multiplier, bound)
    rng = np.random.default_rng(0)
    near = np.rint(np.arange(-70000, 70000, 7) / 2 / multiplier)
    near = near[np.abs(near) < bound]
    extremes = [-bound, bound, bound - 1, 0, 1, -1]
    accumulators = np.concatenate([near, rng.integers(-bound, bound, 300), extremes])
    accumulators = accumulators.astype(np.int64)
    exact = Fraction(form.mantissa[0], 2**form.fraction)
    want = [nearest(int(a) * exact, to_even) for a in accumulators]
    np.testing.assert_array_equal(requantize(accumulators, form, to_even), want)


@pytest.mark.parametrize(("multiplier", "bound"), WIDE)
def test_wide_uses_every_bit_and_none_too_many(multiplier: float, bound: int) -> None:
    form = wide_fixed_point(multiplier, bound)
    assert form.left == 0
    assert 1 <= form.fraction <= 62
    assert 0 < form.mantissa[0] < INT32
    assert bound * form.mantissa[0] + 2 ** (form.fraction - 1) < 2**63
    unit = Fraction(1, 2**form.fraction)
    assert abs(form.mantissa[0] * unit - Fraction(multiplier)) <= unit / 2
    more = 2 * form.mantissa[0]
    assert more >= INT32 // 2 or bound * more >= 2**60 or form.fraction == 62


def test_wide_of_channels_shares_the_fraction() -> None:
    form = wide_fixed_point(np.array([0.3, 1e-3, 2.0]), 2**35)
    assert len(form.mantissa) == 3
    assert form == wide_fixed_point(np.array([0.3, 1e-3, 2.0]), 2**35 + 1)


@pytest.mark.parametrize(("bad", "bound"), [(2.0**30, 1), (-1.0, 9), (np.nan, 9), (1e6, 2**60)])
def test_wide_refuses_what_does_not_fit(bad: float, bound: int) -> None:
    with pytest.raises(ValueError, match=r"out of range|no room"):
        wide_fixed_point(bad, bound)


@pytest.mark.parametrize("bad", [-1e-9, 2.0**15, np.inf, np.nan, [0.5, np.nan], [0.5, -0.5]])
def test_refuses_what_does_not_fit(bad: object) -> None:
    with pytest.raises(ValueError, match="multiplier out of range"):
        fixed_point(np.asarray(bad))


@given(st.integers(-(2**30), 2**30), st.integers(1, 30), st.booleans())
def test_shift_right_rounded(value: int, bits: int, to_even: bool) -> None:
    got = int(shift_right_rounded(np.array(value, np.int64), bits, to_even))
    assert got == nearest(Fraction(value, 2**bits), to_even)


def test_saturate() -> None:
    values = np.array([-1000, -120, 0, 120, 1000])
    np.testing.assert_array_equal(saturate(values, -10, -128, 127), [-128, -128, -10, 110, 127])
    np.testing.assert_array_equal(saturate(values, 128, 128, 200), [128, 128, 128, 200, 200])
