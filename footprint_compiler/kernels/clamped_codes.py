"""The end of a quantized kernel in vectorized TIR: moved by a zero point, clamped, narrow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx

LIMITS = {"int8": (-128, 127), "uint8": (0, 255)}
FURTHEST_ZERO_POINT = 255


@dataclass(frozen=True)
class ClampedCode:
    """min(max(``value`` + ``zero_point``, ``low``), ``high``) as ``dtype``, one of ``LIMITS``."""

    value: Any
    zero_point: int
    low: int
    high: int
    dtype: str
    lanes: int


def clamped_code(cast: Any) -> ClampedCode | None:
    """What a ``Cast`` of 8 or 16 lanes of int32 narrows; None where it is not clamped."""
    dtype, _, lanes = str(cast.ty.dtype).partition("x")
    if dtype not in LIMITS or lanes not in ("8", "16"):
        return None
    value, limits, zero_point = cast.value, dict[Any, int](), 0
    if str(value.ty.dtype) != f"int32x{lanes}":
        return None
    for kind in (tirx.Max, tirx.Min):
        constant = splat_of(value.b) if isinstance(value, kind) else None
        if constant is not None:
            value, limits[kind] = value.a, constant
    low, high = limits.get(tirx.Max), limits.get(tirx.Min)
    if low is None or high is None or not LIMITS[dtype][0] <= low <= high <= LIMITS[dtype][1]:
        return None
    for kind, sign in ((tirx.Add, 1), (tirx.Sub, -1)):
        constant = splat_of(value.b) if isinstance(value, kind) else None
        if constant is not None and abs(constant) <= FURTHEST_ZERO_POINT:
            value, zero_point = value.a, sign * constant
    return ClampedCode(value, zero_point, low, high, dtype, int(lanes))


def splat_of(value: Any) -> int | None:
    """The constant that every lane has."""
    if isinstance(value, tirx.Broadcast):
        value = value.value
    return int(value) if isinstance(value, tirx.IntImm) else None
