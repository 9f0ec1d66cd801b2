"""Steps of integer sensors are found exactly, and nothing is found where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from footprint_compiler.calibration.lattice import lattice_range
from footprint_compiler.quantize.affine import affine, fake_quantize

RNG = np.random.default_rng(4)


@pytest.mark.parametrize(("scale", "zero"), [(0.5847029, 83), (1 / 255, -128), (1.0, 0), (3e-5, 5)])
def test_codes_of_a_sensor_come_back_exactly(scale: float, zero: int) -> None:
    codes = RNG.integers(-128, 128, (6, 400))
    arrays = [((row - zero) * np.float32(scale)).astype(np.float32) for row in codes]
    found = lattice_range(arrays)
    assert found is not None
    parameters = affine(*found)
    assert parameters.scale == pytest.approx(scale, rel=1e-6)
    for array in arrays:
        np.testing.assert_allclose(fake_quantize(array, parameters), array, rtol=1e-6, atol=1e-12)


def test_few_levels_leave_room_on_both_sides() -> None:
    found = lattice_range([np.array([-0.5, 0.0, 0.25, 1.0])])
    assert found is not None
    assert affine(*found).scale == 0.25
    assert found[0] < -25
    assert found[1] > 25


@pytest.mark.parametrize(
    "array",
    [
        RNG.normal(size=500),
        np.arange(-200, 200) * 0.1,  # too many levels
        np.arange(10) * 0.1 + 0.03,  # zero is not one of them
        np.zeros(5),
        np.array([0.0, 1.0]),
    ],
    ids=["continuous", "wide", "shifted", "constant", "two values"],
)
def test_no_lattice(array: np.ndarray) -> None:
    assert lattice_range([array]) is None
