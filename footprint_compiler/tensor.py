"""What a tensor is to every part of the compiler: a name, a static shape and a dtype."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

DTYPE_BYTES = {
    "bool": 1,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "uint16": 2,
    "float16": 2,
    "bfloat16": 2,
    "int32": 4,
    "uint32": 4,
    "float32": 4,
    "int64": 8,
    "uint64": 8,
    "float64": 8,
}


@dataclass(frozen=True)
class TensorSpec:
    """A tensor with a static shape.

    Attributes:
        name: unique in its graph or program; for model inputs and outputs the ONNX name.
        shape: dimensions; ``()`` is a scalar.
        dtype: a key of ``DTYPE_BYTES``.
        scale, zero_point: real = scale * (q - zero_point), where the tensor is quantized.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes of the dense row-major tensor."""
        return prod(self.shape) * DTYPE_BYTES[self.dtype]
