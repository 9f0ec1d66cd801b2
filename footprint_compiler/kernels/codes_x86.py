"""Accumulators to 8-bit codes in x86-64 registers, where mantissas have two bits to spare.

    code = clamp(floor((a * m + 2^30) / 2^31) + z),   m < 2^29

PMULDQ gives 64-bit products of the even lanes, and of the odd ones moved down. With 4 m, the upper
half of a product is floor(2 a m / 2^31), so that one shuffle joins even and odd lanes, and rounding
is left to narrow lanes: floor((floor(2 y) + 1) / 2) = floor(y + 1/2). PMULHRSW by 2^14 is that for
sixteen lanes of int16, to which PACKSSDW saturates: what it cuts off is beyond 2^14 steps, which
the clamp cuts off anyway. AVX-512 shifts its lanes of int32, of which one register is enough.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import tirx

from footprint_compiler.kernels.clamped_codes import LIMITS, clamped_code, splat_of

SPARE = 2
"""Highest bits that every mantissa has clear, besides the sign."""


@dataclass(frozen=True)
class _Code:
    """clamp(rescale(``a``, ``m``) + ``zero_point``) as ``dtype``."""

    a: Any
    m: Any
    lanes: int
    zero_point: int
    low: int
    high: int
    dtype: str


def expand_codes(wide: bool) -> Callable[[Any], Any]:
    """A rule for ``Cast`` nodes of vectorized TIR.

    Args:
        wide: there are registers of 512 bits, otherwise of 256.
    """

    def rule(cast: Any) -> Any:
        code = _code_of(cast)
        if code is None:
            return cast
        return _by_32_bits(code) if wide and code.lanes == 16 else _by_16_bits(code)

    return rule


def extended(value: Any, half: int) -> Any:
    """The even lanes as int64, in the form that LLVM knows as an operand of PMULDQ even where it
    stands before the loop."""
    bits = tirx.Broadcast(tirx.const(32, "int64"), half)
    pairs = tirx.reinterpret(f"int64x{half}", value)
    return tirx.shift_right(tirx.shift_left(pairs, bits), bits)


def _code_of(cast: Any) -> _Code | None:
    code = clamped_code(cast)
    if code is None or not isinstance(code.value, tvm.ir.Call):
        return None
    call = code.value
    name = call.op.name if isinstance(call.op, tvm.ir.Op) else ""
    if name != "tirx.q_multiply_shift" or splat_of(call.args[3]) != SPARE:
        return None
    a, m = call.args[0], call.args[1]
    return _Code(a, m, code.lanes, code.zero_point, code.low, code.high, code.dtype)


def _twice(a: Any, m: Any, lanes: int) -> Any:
    """floor(2 a m / 2^31) as int32, by four lanes in the order 0, 2, 1, 3."""
    half = lanes // 2
    m = tirx.shift_left(m, tirx.Broadcast(tirx.const(SPARE, "int32"), lanes))
    moved = [i | 1 for i in range(lanes)]
    even = extended(a, half) * extended(m, half)
    odd = extended(_pick([a], moved), half) * extended(_pick([m], moved), half)
    products = [tirx.reinterpret(f"int32x{lanes}", value) for value in (even, odd)]
    upper = [first + at for first in range(0, lanes, 4) for at in (1, 3, lanes + 1, lanes + 3)]
    return _pick(products, upper)


def _by_32_bits(code: _Code) -> Any:
    lanes = code.lanes

    def splat(value: int) -> Any:
        return tirx.Broadcast(tirx.const(value, "int32"), lanes)

    value = _twice(code.a, code.m, lanes) + splat(1 + 2 * code.zero_point)
    value = tirx.shift_right(value, splat(1))
    value = tirx.max(tirx.min(value, splat(code.high)), splat(code.low))
    order = [part + at for part in range(0, lanes, 4) for at in (0, 2, 1, 3)]
    return _pick([value.astype(f"{code.dtype}x{lanes}")], order)


def _by_16_bits(code: _Code) -> Any:
    lanes, half = code.lanes, code.lanes // 2

    def part(value: Any, first: int) -> Any:
        return _pick([value], list(range(first, first + 8)))

    if lanes == 16:
        eights = [_twice(part(code.a, at), part(code.m, at), 8) for at in (0, 8)]
        pack, multiply = "llvm.x86.avx2.packssdw", "llvm.x86.avx2.pmul.hr.sw"
    else:
        both = _twice(code.a, code.m, 8)
        eights = [_pick([both], list(range(at, at + 4))) for at in (0, 4)]
        pack, multiply = "llvm.x86.sse2.packssdw.128", "llvm.x86.ssse3.pmul.hr.sw.128"
    wide = f"int16x{lanes}"

    def splat(value: int) -> Any:
        return tirx.Broadcast(tirx.const(value, "int16"), lanes)

    value = tirx.call_llvm_pure_intrin(wide, pack, *eights)
    value = tirx.call_llvm_pure_intrin(wide, multiply, value, splat(1 << 14))
    if code.zero_point:
        value = value + splat(code.zero_point)
    low, high = LIMITS[code.dtype]
    if code.high < high:
        value = tirx.min(value, splat(code.high))
    if code.low > low:
        value = tirx.max(value, splat(code.low))
    narrow = "llvm.x86.sse2.packsswb.128" if low else "llvm.x86.sse2.packuswb.128"
    halves = [value, value]
    if lanes == 16:
        halves = [_pick([value], list(range(at, at + half))) for at in (0, half)]
    found = tirx.call_llvm_pure_intrin("int8x16", narrow, *halves)
    return tirx.reinterpret(f"{code.dtype}x{lanes}", _pick([found], _order(lanes)))


def _order(lanes: int) -> list[int]:
    """Where each channel lies in what ``_by_16_bits`` packs: PACKSSDW works by 128 bits."""
    places = [0, 2, 1, 3]
    if lanes == 8:
        return [4 * (c // 4) + places[c % 4] for c in range(8)]
    return [8 * (c // 4 % 2) + 4 * (c // 8) + places[c % 4] for c in range(16)]


def _pick(values: list[Any], order: list[int]) -> Any:
    return tirx.Shuffle(values, [tirx.const(at, "int32") for at in order])
