"""The forms of multipliers and weights that C kernels read, against the definition."""

from __future__ import annotations

import numpy as np
import pytest

from footprint_compiler.kernels.c.weights import (
    can_cross,
    crossed_words,
    pairs,
    scaled,
    sized,
    words,
)
from footprint_compiler.quant.fixed_point import fixed_point, requantize


@pytest.mark.parametrize("largest", [1e-6, 0.003, 0.25, 0.4999999, 0.5, 0.99, 1.0, 7.3, 4000.0])
def test_scaled_is_the_definition(largest: float) -> None:
    """((acc << S) M' + 2^31) >> 32, on edges and at random, for every |acc| below 2^(30 - left)."""
    rng = np.random.default_rng(1)
    multiplier = fixed_point(largest * np.append(rng.random(63), 1.0))
    bound = 2 ** (30 - multiplier.left) - 1
    acc = rng.integers(-bound, bound, (4000, 64), endpoint=True)
    acc[0], acc[1], acc[2], acc[3] = bound, -bound, 0, -1
    shift, factor = scaled(np.asarray(multiplier.mantissa, np.int64), multiplier.left)
    assert 0 <= shift <= multiplier.left + 1
    assert int(factor.max()) < 2**31
    moved = acc << shift
    assert int(np.abs(moved).max()) < 2**31
    high = (moved * factor + 2**31) >> 32
    np.testing.assert_array_equal(high, requantize(acc, multiplier))


def test_a_common_multiplier_needs_no_shift() -> None:
    multiplier = fixed_point(np.array([0.004, 0.2]))
    shift, _ = scaled(np.asarray(multiplier.mantissa), multiplier.left)
    assert shift == 0


def test_sized_appends_zeros_up_to_a_multiple() -> None:
    array = np.arange(6).reshape(2, 3) + 1
    np.testing.assert_array_equal(sized(array, 1, 4), [[1, 2, 3, 0], [4, 5, 6, 0]])
    np.testing.assert_array_equal(sized(array, 0, 2), array)


def test_words_are_little_endian() -> None:
    assert words(np.array([[1, 2, -1, 0]])).tolist() == [[0x00FF0201]]


def test_pairs_are_what_sxtb16_makes_of_a_word() -> None:
    ((low, high),) = pairs(np.array([1, -2, 3, -4]))
    assert low & 0xFFFF == 1
    assert low >> 16 == 3
    assert high & 0xFFFF == 0xFFFE
    assert high >> 16 == -4


def test_crossed_words_hold_a_weight_and_another_negated() -> None:
    weights = np.array([[127, 127, -127, -127, 127, -127, -127, 127]], np.int8)
    halves = crossed_words(weights).view("<i2")
    np.testing.assert_array_equal(halves, [[32385, -32385, 32639, -32639]])
    np.testing.assert_array_equal(halves.astype(np.int8), -weights[:, 1::2])


@pytest.mark.parametrize(
    ("weights", "bias", "fits"),
    [
        (np.full((2, 3, 1, 1), -127), [0, 0], True),
        (np.full((2, 3, 1, 1), -128), [0, 0], False),
        (np.full((1, 259, 1, 1), 127), [892], True),  # 255 * 127 * 259 + 892 = 2^23 - 1
        (np.full((1, 259, 1, 1), 127), [893], False),
        (np.full((259, 1), 127), [0], True),
        (np.full((1, 259), 127), [0] * 259, True),
        (np.full((260, 1), 127), [0], False),
    ],
)
def test_weights_cross_where_sums_fit(weights: np.ndarray, bias: list[int], fits: bool) -> None:
    assert can_cross(weights.astype(np.int8), np.array(bias, np.int32)) is fits
