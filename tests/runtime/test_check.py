from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from footprint_compiler.errors import InputDataError
from footprint_compiler.runtime.check import check_inputs, numpy_dtype
from footprint_compiler.tensor import DTYPE_BYTES, TensorSpec

SPECS = (TensorSpec("x", (2, 3), "float32"), TensorSpec("mask", (), "bool"))


def inputs(**changes: Any) -> dict[str, Any]:
    """Inputs that fit, with some replaced, or left out for None."""
    good = {"x": np.zeros((2, 3), np.float32), "mask": np.array(True)}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def test_arrays_come_back_in_the_order_of_the_model() -> None:
    given = {"mask": np.array(False), "x": np.ones((2, 3), np.float32)}
    x, mask = check_inputs(SPECS, given)
    assert x is given["x"]
    assert mask is given["mask"]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"x": None}, "missing input 'x'; the model takes 'x', 'mask'"),
        ({"y": np.zeros(3)}, "unknown input 'y'"),
        ({"x": np.zeros((2, 3))}, "'x' is float64, the model takes float32"),
        ({"x": np.zeros((2, 3), np.int32)}, "int32"),
        ({"x": np.zeros((3, 2), np.float32)}, r"shape \(3, 2\), the model takes \(2, 3\)"),
        ({"x": np.zeros(6, np.float32)}, "shape"),
        ({"mask": np.array([True])}, "shape"),
        ({"mask": np.array(1)}, "int64"),
        ({"x": np.full((2, 3), np.nan, np.float32)}, "NaN"),
        ({"x": "text"}, "'x'"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, object], match: str) -> None:
    with pytest.raises(InputDataError, match=match):
        check_inputs(SPECS, inputs(**changes))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_one_nan_is_refused_unless_allowed(dtype: str) -> None:
    array = np.zeros(5, numpy_dtype(dtype))
    array[3] = np.nan
    specs = (TensorSpec("x", (5,), dtype),)
    with pytest.raises(InputDataError, match="'x' contains NaN"):
        check_inputs(specs, {"x": array})
    assert np.isnan(check_inputs(specs, {"x": array}, allow_nan=True)[0][3])


def test_infinity_is_a_value() -> None:
    check_inputs(SPECS, inputs(x=np.full((2, 3), np.inf, np.float32)))


@pytest.mark.parametrize(
    "view",
    [lambda a: np.asfortranarray(a), lambda a: a[::-1], lambda a: a.astype(">f4")],
    ids=["fortran", "reversed", "big-endian"],
)
def test_layout_in_memory_does_not_matter(view: Callable[[np.ndarray], np.ndarray]) -> None:
    array = view(np.arange(6, dtype=np.float32).reshape(2, 3))
    np.testing.assert_array_equal(check_inputs(SPECS, inputs(x=array))[0], array)


@pytest.mark.parametrize("dtype", DTYPE_BYTES)
def test_every_dtype_has_a_numpy_twin(dtype: str) -> None:
    assert numpy_dtype(dtype).itemsize == DTYPE_BYTES[dtype]
    assert numpy_dtype("bfloat16") == ml_dtypes.bfloat16
