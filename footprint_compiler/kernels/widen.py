"""How elements of quantized tensors enter a sum: widened, less their zero point."""

from __future__ import annotations

from typing import Any

from tvm import tirx

QUANTIZED = ("int8", "uint8", "int16", "uint16")


def wide_dtype(dtype: Any, accumulator: str) -> str:
    """The dtype in which products of ``dtype`` are summed."""
    return accumulator if str(dtype) in QUANTIZED else str(dtype)


def widen(value: Any, dtype: Any, zero_point: int, accumulator: str) -> Any:
    """An element as it enters a product: quantized integers less their zero point."""
    if str(dtype) not in QUANTIZED:
        return value
    wide = value.astype(accumulator)
    return wide - tirx.const(zero_point, accumulator) if zero_point else wide
