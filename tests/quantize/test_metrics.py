"""Scores against their definitions, and labels that do not fit."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from footprint_compiler.errors import InputDataError, UsageError
from footprint_compiler.quantize.evaluate import compare_outputs
from footprint_compiler.quantize.loss import loss
from footprint_compiler.quantize.metrics import choose_metric

EXPECTED = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0], [0.0, 1.0]])
GOT = np.array([[1.0, 0.5], [1.0, 0.0], [3.0, 1.0], [0.0, 1.0]])
TARGETS = np.array([[1.0, 0.0], [0.0, 2.0], [4.0, 1.0], [0.0, 1.0]])


def test_regression_is_relative_to_the_range_of_the_targets() -> None:
    found = compare_outputs(EXPECTED, GOT, TARGETS)
    assert found.metric == "mae"
    assert found.float_score == pytest.approx(1 - (1 / 8) / 4)
    assert found.score == pytest.approx(1 - ((0.5 + 1 + 2 + 1) / 8) / 4)
    assert found.drop == pytest.approx(100 * (3.5 / 8) / 4)
    assert found.accuracy is None
    squared = compare_outputs(EXPECTED, GOT, TARGETS, "rmse")
    assert squared.score == pytest.approx(1 - np.sqrt((0.25 + 1 + 4 + 1) / 8) / 4)


def test_without_labels() -> None:
    found = compare_outputs(EXPECTED, GOT, None)
    assert (found.metric, found.score, found.drop) == ("agreement", 0.75, 25.0)
    cosine = compare_outputs(EXPECTED, GOT, None, "cosine")
    assert cosine.score == pytest.approx((1 / np.sqrt(1.25) + 0 + 1 + 1) / 4)
    assert cosine.float_score == pytest.approx(1)
    assert compare_outputs(EXPECTED[:, :1], EXPECTED[:, :1], None).metric == "cosine"


def test_a_function_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_metric.py").write_text(
        "def first(outputs, labels):\n    return float(outputs[0, 1] * 2 + labels[1])\n"
        "def broken(outputs, labels):\n    return outputs[99]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    labels = np.array([0, 1, 0, 1])
    found = compare_outputs(EXPECTED, GOT, labels, "own_metric:first")
    assert (found.float_score, found.score) == (1.0, 2.0)
    with pytest.raises(InputDataError, match="own_metric:broken failed: IndexError"):
        compare_outputs(EXPECTED, GOT, labels, "own_metric:broken")
    with pytest.raises(UsageError, match="cannot import own_metric:second"):
        compare_outputs(EXPECTED, GOT, labels, "own_metric:second")
    sys.modules.pop("own_metric")


@pytest.mark.parametrize(
    ("metric", "labels", "message"),
    [
        ("top-1", None, "needs one class index"),
        ("top-1", np.array([0, 1, 2, 1]), "labels run from 0 to 2"),
        ("mae", None, "needs targets"),
        ("mae", np.zeros((4, 3)), "3 numbers per sample, the output 2"),
        ("rmse", np.zeros((4, 2)), "all the same"),
    ],
)
def test_labels_that_do_not_fit(metric: str, labels: np.ndarray | None, message: str) -> None:
    with pytest.raises(InputDataError, match=message):
        choose_metric(metric, EXPECTED, labels)


def test_unknown_metric() -> None:
    with pytest.raises(UsageError, match="unknown metric 'f1'"):
        choose_metric("f1", EXPECTED, None)


def test_loss_of_probabilities_ignores_a_common_shift() -> None:
    shifted = EXPECTED + 7
    assert loss([EXPECTED], [shifted], [True]) == pytest.approx(0, abs=1e-12)
    assert loss([EXPECTED], [shifted], [False]) == pytest.approx(8 * 49 / 16)
    assert loss([EXPECTED], [GOT], [True]) > 0
