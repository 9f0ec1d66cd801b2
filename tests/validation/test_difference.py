"""Statistics of differences, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from footprint_compiler.errors import InputDataError
from footprint_compiler.tensor import TensorSpec
from footprint_compiler.validation.difference import MOST_DB, Difference, Tolerance

CODES = TensorSpec("q", (2, 2), "uint8", 0.5, 10)
FLOATS = TensorSpec("f", (2, 2), "float32")


def of(spec: TensorSpec, *pairs: tuple[list, list]) -> Difference:
    made = Difference(spec)
    for got, expected in pairs:
        made.add(np.array(got, spec.dtype), np.array(expected, spec.dtype))
    return made


def test_codes_in_steps_and_in_real_numbers():
    found = of(CODES, ([[10, 12], [0, 255]], [[10, 14], [3, 255]]), ([[1, 2], [3, 4]],) * 2)
    assert (found.max_lsb, found.max_abs, found.differing, found.elements) == (3, 1.5, 2, 8)
    assert found.worst is not None
    assert (found.worst.sample, found.worst.index) == (0, (1, 0))
    assert (found.worst.got, found.worst.expected) == (0, 3)
    real = [0, 2, -3.5, 122.5, -4.5, -4, -3.5, -3]
    noise = 1 + 1.5**2
    assert found.sqnr_db == pytest.approx(10 * math.log10(sum(x * x for x in real) / noise))
    assert not found.passed(Tolerance(lsb=2))
    assert found.passed(Tolerance(lsb=3))


def test_codes_do_not_wrap():
    assert of(CODES, ([[0, 0], [0, 0]], [[255, 0], [0, 0]])).max_lsb == 255


def test_floats_within_their_range():
    found = of(FLOATS, ([[0, 1], [2, 3]], [[0, 1], [2, 3]]), ([[0, 0], [0, 1]], [[0, 0], [0, 0]]))
    assert found.max_lsb is None
    assert found.limit(Tolerance(relative=0.1)) == pytest.approx(0.3)
    assert found.worst is not None
    assert (found.worst.sample, found.worst.index) == (1, (1, 1))
    assert found.cosine == pytest.approx(14 / math.sqrt(15 * 14))


def test_the_first_of_equal_differences_is_the_worst():
    found = of(FLOATS, ([[0, 1], [1, 0]], [[0, 0], [0, 0]]), ([[1, 0], [0, 0]], [[0, 0], [0, 0]]))
    assert found.worst is not None
    assert (found.worst.sample, found.worst.index) == (0, (0, 1))


@pytest.mark.parametrize(
    ("got", "expected", "largest"),
    [
        ([[math.nan, 1], [1, 1]], [[math.nan, 1], [1, 1]], 0),
        ([[math.nan, 1], [1, 1]], [[1, 1], [1, 1]], math.inf),
        ([[1, 1], [1, 1]], [[1, math.nan], [1, 1]], math.inf),
        ([[math.inf, 1], [1, 1]], [[-math.inf, 1], [1, 1]], math.inf),
    ],
)
def test_nan_and_infinity(got, expected, largest):
    found = of(FLOATS, (got, expected))
    assert found.largest == largest
    assert found.passed(Tolerance()) == (largest == 0)


def test_equal_and_silent_tensors():
    assert of(FLOATS, ([[0, 0], [0, 0]],) * 2).sqnr_db == MOST_DB
    assert of(FLOATS, ([[0, 0], [0, 0]],) * 2).cosine == 1
    assert of(FLOATS, ([[1, 0], [0, 0]], [[0, 0], [0, 0]])).sqnr_db == -MOST_DB


def test_dequantized_floats_count_in_steps():
    spec = TensorSpec("y", (2, 2), "float32", 0.25, 0)
    found = of(spec, ([[0.25, 0], [0, 0]], [[0, 0], [0, 0]]))
    assert found.passed(Tolerance(lsb=1))
    assert not found.passed(Tolerance(lsb=0.5))


def test_other_integers_are_exact():
    spec = TensorSpec("label", (1,), "int64")
    assert not of(spec, ([5], [4])).passed(Tolerance(lsb=9, relative=9))


def test_tolerances_as_a_user_gives_them():
    assert Tolerance.of(None, None) == Tolerance(1.0, 1e-4)
    assert Tolerance.of(2, None) == Tolerance(2, 2)
    assert Tolerance.of(None, 3) == Tolerance(3, 1e-4)
    assert Tolerance.of(0.01, 3) == Tolerance(3, 0.01)


def test_another_shape_is_refused():
    with pytest.raises(InputDataError, match=r"has shape \[1\], the reference has \[2\]"):
        Difference(FLOATS).add(np.zeros(1), np.zeros(2))
