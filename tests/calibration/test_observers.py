"""Ranges from statistics whose best range is known."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from footprint_compiler.calibration.observers import OBSERVERS, TAIL
from footprint_compiler.calibration.statistics import TensorStatistics, collect
from footprint_compiler.errors import InputDataError
from footprint_compiler.quantize.affine import affine, fake_quantize


def identity() -> onnx.ModelProto:
    put = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 2, 500]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", put[:1], put[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def statistics(values: np.ndarray) -> TensorStatistics:
    """Of the input of a model, from samples of shape (n, 1, 2, 500)."""
    return collect(identity(), ["x", "y"], [{"x": v} for v in values])["x"]


NORMAL = np.random.default_rng(0).normal(size=(20, 1, 2, 500)).astype(np.float32)


def test_statistics_match_numpy() -> None:
    found = collect(identity(), ["x", "y"], [{"x": v} for v in NORMAL])
    assert found["x"].low == NORMAL.min()
    assert found["y"].low == 0
    np.testing.assert_array_equal(found["x"].highs, NORMAL.max(axis=(1, 2, 3)))
    np.testing.assert_array_equal(found["x"].channel_low, NORMAL.min(axis=(0, 1, 3)))
    counts = np.histogram(NORMAL, 2048, (NORMAL.min(), NORMAL.max()))[0]
    assert np.abs(found["x"].counts - counts).sum() <= 4
    assert found["x"].counts.sum() == NORMAL.size


def test_values_that_are_not_finite_are_named() -> None:
    bad = NORMAL.copy()
    bad[3, 0, 0, 0] = np.inf
    with pytest.raises(InputDataError, match="'x' is not finite for calibration sample 3"):
        statistics(bad)


def test_min_max_and_moving_average() -> None:
    seen = statistics(NORMAL)
    assert OBSERVERS["min-max"](seen) == (NORMAL.min(), NORMAL.max())
    low, high = OBSERVERS["moving-average"](seen)
    expected = NORMAL[0].max()
    for sample in NORMAL[1:]:
        expected = 0.9 * expected + 0.1 * sample.max()
    assert high == pytest.approx(expected, rel=1e-6)
    assert NORMAL.min() < low < 0


def test_percentile_cuts_the_tails_only() -> None:
    seen = statistics(NORMAL)
    low, high = OBSERVERS["percentile"](seen)
    width = (seen.high - seen.low) / 2048
    assert abs(high - np.quantile(NORMAL, 1 - TAIL)) < 3 * width + 0.3
    assert np.mean(high < NORMAL) <= TAIL
    assert np.mean(low > NORMAL) <= TAIL
    assert high < seen.high


def test_entropy_ignores_a_single_outlier() -> None:
    values = NORMAL.copy()
    values[5, 0, 0, 7] = 400.0
    low, high = OBSERVERS["entropy"](statistics(values))
    assert 2 < high < 40
    assert -8 < low < 0


def test_mse_has_least_error() -> None:
    values = NORMAL + np.where(np.abs(NORMAL) > 3, 40, 0).astype(np.float32)
    seen = statistics(values)
    errors = {
        name: float(np.mean((fake_quantize(values, affine(*observe(seen))) - values) ** 2))
        for name, observe in OBSERVERS.items()
    }
    assert errors["mse"] <= 1.02 * min(errors.values())


@pytest.mark.parametrize("name", sorted(OBSERVERS))
@pytest.mark.parametrize("value", [0.0, 3.0, -2.0])
def test_constants_keep_a_usable_range(name: str, value: float) -> None:
    seen = statistics(np.full((4, 1, 2, 500), value, np.float32))
    parameters = affine(*OBSERVERS[name](seen))
    array = np.full(3, value, np.float32)
    assert np.abs(fake_quantize(array, parameters) - array).max() <= 0.02 * abs(value)
