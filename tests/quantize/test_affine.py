"""Scales, zero points and integer weights against their definitions."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from footprint_compiler.quantize.affine import (
    MAX_BIAS,
    affine,
    fake_quantize,
    quantize_weights,
)

ENDS = st.floats(-1e6, 1e6, allow_nan=False, width=32)


@given(ENDS, ENDS)
def test_codes_cover_the_range_and_zero(first: float, second: float) -> None:
    low, high = min(first, second, 0.0), max(first, second, 0.0)
    parameters = affine(low, high)
    assert -128 <= parameters.zero_point <= 127
    ends = np.array([low, 0.0, high], np.float32)
    error = np.abs(fake_quantize(ends, parameters) - ends)
    assert error[1] == 0
    assert np.all(error <= parameters.scale * 0.5001 + 1e-12)


def test_a_range_from_zero_uses_all_codes() -> None:
    assert affine(0.0, 255.0).zero_point == -128
    assert affine(0.0, 255.0).scale == 1.0
    assert affine(-255.0, -10.0).zero_point == 127


def test_weights_per_channel() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(4, 3, 3, 3)) * np.array([1e-3, 1, 50, 0]).reshape(4, 1, 1, 1)
    found = quantize_weights(weights.astype(np.float32), np.ones(4, np.float32), 0.02, 0)
    assert found.codes.dtype == np.int8
    assert np.abs(found.codes.astype(int)).max() == 127
    assert not found.codes[3].any()
    real = found.codes * found.scale.reshape(4, 1, 1, 1)
    assert np.all(np.abs(real - weights) <= 0.5001 * found.scale.reshape(4, 1, 1, 1))
    assert found.bias is not None
    np.testing.assert_allclose(found.bias * found.bias_scale, 1, rtol=2e-2)


def test_a_large_bias_coarsens_the_scale_of_its_channel_only() -> None:
    weights = np.full((2, 4), 1e-6, np.float32)
    found = quantize_weights(weights, np.array([1e4, 0], np.float32), 1e-3, 0)
    assert found.bias is not None
    assert found.bias[0] <= MAX_BIAS
    np.testing.assert_allclose(found.bias[0] * found.bias_scale[0], 1e4, rtol=1e-6)
    np.testing.assert_allclose(found.codes[1] * found.scale[1], weights[1], rtol=1e-2)


def test_matrix_weights_along_axis_1() -> None:
    weights = np.array([[1, 100], [-2, 50]], np.float32)
    found = quantize_weights(weights, None, 1.0, 1)
    assert found.codes.tolist() == [[64, 127], [-127, 64]]
    assert found.bias is None
