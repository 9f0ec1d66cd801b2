"""The comparison with a reference: limits, verdicts, statistics."""

from __future__ import annotations

import math

import numpy as np
import pytest

from footprint_compiler.errors import InputDataError, ModelFileError
from footprint_compiler.tensor import TensorSpec
from footprint_compiler.validate import (
    compare,
    limit_of,
    onnxruntime_reference,
    onnxruntime_session,
    validate,
)

FLOAT = TensorSpec("y", (2,), "float32")


def f4(*rows: list[float]) -> np.ndarray:
    return np.array(rows, "f4")


@pytest.mark.parametrize(
    ("spec", "expected", "tolerance", "limit"),
    [
        (FLOAT, f4([-1, 3]), None, 4e-4),
        (FLOAT, f4([-1, 3]), 1e-2, 4e-2),
        (FLOAT, f4([5, 5]), None, 5e-4),
        (FLOAT, f4([0, 0]), None, 1e-4),
        (FLOAT, f4([-math.inf, 2], [1, math.nan]), None, 1e-4),
        (TensorSpec("y", (2,), "int8", 0.5, 3), np.zeros((1, 2), "i1"), None, 1),
        (TensorSpec("y", (2,), "int8", 0.5, 3), np.zeros((1, 2), "i1"), 2, 2),
        (TensorSpec("y", (2,), "float32", 0.5, 3), f4([0, 9]), None, 0.5 * 1.0001),
        (TensorSpec("y", (2,), "int64"), np.zeros((1, 2), "i8"), 1e-2, 0),
        (TensorSpec("y", (2,), "bool"), np.zeros((1, 2), bool), None, 0),
    ],
)
def test_limits(spec, expected, tolerance, limit):
    assert limit_of(spec, expected, tolerance)[0] == pytest.approx(limit)


def test_equal_outputs_pass():
    report = compare(FLOAT, f4([1, 2], [3, 4]), f4([1, 2], [3, 4]))
    assert (report.max_abs, report.rmse, report.top1, report.passed) == (0, 0, 1, True)
    assert report.cosine == pytest.approx(1)


def test_statistics_of_a_difference():
    report = compare(FLOAT, f4([1, 2], [4, 3]), f4([1, 2], [3, 4]), tolerance=1 / 3)
    assert report.max_abs == 1
    assert report.rmse == pytest.approx(math.sqrt(0.5))
    assert report.top1 == 0.5
    assert report.cosine == pytest.approx(29 / 30)
    assert report.passed
    assert not compare(FLOAT, f4([1, 2], [4, 3]), f4([1, 2], [3, 4]), tolerance=0.3).passed


@pytest.mark.parametrize(
    ("got", "expected", "passed"),
    [
        ([math.nan, 1], [0, 1], False),
        ([0, 1], [math.nan, 1], False),
        ([math.nan, 1], [math.nan, 1], True),
        ([math.inf, 1], [math.inf, 1], True),
        ([-math.inf, 1], [math.inf, 1], False),
        ([math.inf, 1], [0, 1], False),
    ],
)
def test_nan_and_infinity(got, expected, passed):
    report = compare(FLOAT, f4(got), f4(expected))
    assert report.passed == passed
    assert report.max_abs == (0 if passed else math.inf)


def test_unsigned_outputs_do_not_wrap():
    spec = TensorSpec("y", (2,), "uint8", 0.1, 0)
    report = compare(spec, np.array([[0, 255]], "u1"), np.array([[255, 0]], "u1"))
    assert report.max_abs == 255
    assert not report.passed


def test_another_shape_is_refused():
    with pytest.raises(InputDataError, match=r"has shape \[2\], the reference has \[3\]"):
        compare(FLOAT, np.zeros((1, 2)), np.zeros((1, 3)))


def test_no_sample_is_refused():
    with pytest.raises(InputDataError, match="no sample"):
        validate(dict, dict, [], [FLOAT])


def test_every_output_counts():
    specs = [FLOAT, TensorSpec("label", (), "int64")]
    good = {"y": f4([1, 2])[0], "label": np.int64(1)}
    bad = {**good, "label": np.int64(0)}
    samples = [{}, {}, {}]
    answers = iter([good, bad, good])
    report = validate(lambda _: next(answers), lambda _: good, samples, specs)
    assert [output.passed for output in report.outputs] == [True, False]
    assert report.outputs[1].top1 is None
    assert (report.passed, report.samples) == (False, 3)


def test_reference_of_the_example(digits):
    run = onnxruntime_reference(digits, [TensorSpec("probabilities", (1, 10), "float32")])
    outputs = run({"image": np.zeros((1, 1, 8, 8), "f4")})
    assert outputs["probabilities"].sum() == pytest.approx(1, abs=1e-5)


def test_reference_of_another_model(digits):
    with pytest.raises(ModelFileError, match="has no output 'scores'"):
        onnxruntime_reference(digits, [TensorSpec("scores", (1, 10), "float32")])
    run = onnxruntime_reference(digits, [TensorSpec("probabilities", (1, 10), "float32")])
    with pytest.raises(ModelFileError, match="cannot run"):
        run({"image": np.zeros((1, 1, 9, 8), "f4")})


def test_files_that_onnxruntime_cannot_load(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x09 nonsense")
    with pytest.raises(ModelFileError, match="cannot load"):
        onnxruntime_session(tmp_path / "bad.onnx")
    with pytest.raises(ModelFileError, match="no such model file"):
        onnxruntime_session(tmp_path / "none.onnx")
