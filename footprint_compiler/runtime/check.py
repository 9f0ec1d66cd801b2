"""Whether arrays fit the inputs of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ml_dtypes
import numpy as np

from footprint_compiler.errors import InputDataError
from footprint_compiler.tensor import TensorSpec


def numpy_dtype(dtype: str) -> np.dtype:
    """The NumPy dtype of a key of ``DTYPE_BYTES``."""
    return np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(dtype)


def check_inputs(
    specs: Sequence[TensorSpec], inputs: Mapping[str, np.ndarray], *, allow_nan: bool = False
) -> list[np.ndarray]:
    """The arrays in the order of ``specs``.

    Raises:
        InputDataError: a name is missing or unknown, a shape or dtype is another one, or a
            float array holds NaN and ``allow_nan`` is not set.
    """
    names = [spec.name for spec in specs]
    missing = [name for name in names if name not in inputs]
    if missing:
        raise InputDataError(f"missing input {_listed(missing)}; the model takes {_listed(names)}")
    extra = [name for name in inputs if name not in names]
    if extra:
        raise InputDataError(f"unknown input {_listed(extra)}; the model takes {_listed(names)}")
    return [_checked(spec, inputs[spec.name], allow_nan) for spec in specs]


def _checked(spec: TensorSpec, value: np.ndarray, allow_nan: bool) -> np.ndarray:
    array = np.asarray(value)
    dtype = numpy_dtype(spec.dtype)
    if array.dtype.newbyteorder("=") != dtype:
        raise InputDataError(
            f"input {spec.name!r} is {array.dtype}, the model takes {spec.dtype}",
            _conversion(spec, array),
        )
    if array.shape != spec.shape:
        raise InputDataError(
            f"input {spec.name!r} has shape {array.shape}, the model takes {spec.shape}"
        )
    if not allow_nan and spec.dtype in _FLOATS and np.isnan(array).any():
        raise InputDataError(
            f"input {spec.name!r} contains NaN", "Remove the NaN values, or allow them explicitly."
        )
    return array


def _conversion(spec: TensorSpec, array: np.ndarray) -> str:
    if spec.scale is None or array.dtype.kind != "f" or "int" not in spec.dtype:
        return f"Convert it with array.astype({spec.dtype!r})."
    limits = np.iinfo(spec.dtype)
    rounded = f"np.rint(array / np.float32({spec.scale!r})) + {spec.zero_point or 0}"
    return f"Quantize it: np.clip({rounded}, {limits.min}, {limits.max}).astype({spec.dtype!r})."


_FLOATS = ("float16", "bfloat16", "float32", "float64")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
