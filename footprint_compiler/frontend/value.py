"""A tensor during import: its static shape and dtype, and its value where it is known already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Value:
    """One ONNX tensor.

    Attributes:
        shape: static dimensions.
        dtype: a key of ``footprint_compiler.tensor.DTYPE_BYTES``.
        array: the value at compile time, or None when it is computed on the device.
        expr: the Relax variable, or None for a constant.
    """

    shape: tuple[int, ...]
    dtype: str
    array: np.ndarray | None = None
    expr: Any = None

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def is_constant(self) -> bool:
        """Whether the value is known at compile time."""
        return self.array is not None

    @property
    def is_float(self) -> bool:
        """Whether the dtype is a floating-point type."""
        return self.dtype in ("float16", "float32", "float64")


def constant(array: Any, dtype: str | None = None) -> Value:
    """Wrap a NumPy array (or scalar, or list) as a compile-time value."""
    data = np.asarray(array, dtype=dtype)
    data = np.ascontiguousarray(data).reshape(data.shape)
    return Value(tuple(data.shape), str(data.dtype), array=data)
