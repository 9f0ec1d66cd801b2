"""int32 to 8-bit codes in NEON registers: narrowing instructions that saturate do the clamping.

    code = clamp(v + z)   or   code = clamp(v >> s),   low <= code <= high

SQXTN narrows four lanes to int16, SQADD adds z there, and SQXTN or SQXTUN narrows to eight bits.
Each saturates; what one of them cuts off lies beyond every code, with z at most 255 in magnitude.
SQSHRN shifts as it narrows, by at most 16 bits; the rest of s follows with the second narrowing:
floor(floor(v / 2^16) / 2^(s - 16)) = floor(v / 2^s). What the first one saturates is still beyond
every code after that, as s <= 22 leaves it at least 2^9. Limits within those of the dtype are
compared with in eight bits, sixteen lanes at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx

from footprint_compiler.kernels.clamped_codes import LIMITS, ClampedCode, clamped_code, splat_of

FIRST_SHIFT = 16
"""Most bits that narrowing to int16 shifts by."""
MOST_SHIFT = 22


def expand_codes(arm32: bool) -> Callable[[Any], Any]:
    """A rule for ``Cast`` nodes of vectorized TIR.

    Args:
        arm32: Armv7, whose intrinsics have other names.
    """
    narrowing = _Armv7() if arm32 else _Aarch64()

    def rule(cast: Any) -> Any:
        code = clamped_code(cast)
        return cast if code is None else _narrowed(code, narrowing)

    return rule


class _Aarch64:
    """Intrinsics of 64-bit Arm."""

    unsigned = "llvm.aarch64.neon.sqxtun.v8i8"

    def narrow(self, value: Any, dtype: str, bits: str, shift: int) -> Any:
        """``value`` shifted right, saturated to the narrower lanes of ``dtype``."""
        if not shift:
            return _call(dtype, f"llvm.aarch64.neon.sqxtn.{bits}", value)
        name = f"llvm.aarch64.neon.sqshrn.{bits}"
        return _call(dtype, name, value, tirx.const(shift, "int32"))


class _Armv7:
    """Intrinsics of Armv7."""

    unsigned = "llvm.arm.neon.vqmovnsu.v8i8"

    def narrow(self, value: Any, dtype: str, bits: str, shift: int) -> Any:
        """``value`` shifted right, saturated to the narrower lanes of ``dtype``."""
        if not shift:
            return _call(dtype, f"llvm.arm.neon.vqmovns.{bits}", value)
        own, _, lanes = str(value.ty.dtype).partition("x")
        left = tirx.Broadcast(tirx.const(-shift, own), int(lanes))
        return _call(dtype, f"llvm.arm.neon.vqshiftns.{bits}", value, left)


def _narrowed(code: ClampedCode, by: _Aarch64 | _Armv7) -> Any:
    shift = _shift_of(code)
    value = code.value.a if shift else code.value
    first = min(shift, FIRST_SHIFT)
    eights = []
    for at in range(0, code.lanes, 8):
        fours = [by.narrow(_four(value, at + i), "int16x4", "v4i16", first) for i in (0, 4)]
        eight = tirx.vectorcombine("int16x8", *fours)
        if code.zero_point:
            moved = tirx.Broadcast(tirx.const(code.zero_point, "int16"), 8)
            eight = _call("int16x8", "llvm.sadd.sat.v8i16", eight, moved)
        if code.dtype == "uint8":
            eights.append(tirx.reinterpret("uint8x8", _call("int8x8", by.unsigned, eight)))
        else:
            eights.append(by.narrow(eight, "int8x8", "v8i8", shift - first))
    dtype = f"{code.dtype}x{code.lanes}"
    codes = eights[0] if len(eights) == 1 else tirx.vectorcombine(dtype, *eights)
    low, high = LIMITS[code.dtype]
    if code.high < high:
        codes = tirx.min(codes, tirx.Broadcast(tirx.const(code.high, code.dtype), code.lanes))
    if code.low > low:
        codes = tirx.max(codes, tirx.Broadcast(tirx.const(code.low, code.dtype), code.lanes))
    return codes


def _shift_of(code: ClampedCode) -> int:
    """Bits by which the value is another one shifted right, where SQSHRN can do it; or 0."""
    moved = code.value
    if not isinstance(moved, tirx.RShift) or code.zero_point or code.dtype != "int8":
        return 0
    bits = splat_of(moved.b)
    return bits if bits is not None and 1 <= bits <= MOST_SHIFT else 0


def _four(value: Any, first: int) -> Any:
    return tirx.Shuffle([value], [tirx.const(first + i, "int32") for i in range(4)])


def _call(dtype: str, name: str, *arguments: Any) -> Any:
    return tirx.call_llvm_pure_intrin(dtype, name, *arguments)
