"""The product that requantization is made of, by the best instructions of the target.

    rescale(a, m) = floor((a * m + 2^30) / 2^31),   a, m int32, not both -2^31

stands in TIR as ``q_multiply_shift(a, m, 31, 0)`` until its vectors are known. SQRDMULH and
VQRDMULH compute it for four lanes at once; they differ only where both factors are -2^31, which a
mantissa never is. x86-64 multiplies the even 32-bit lanes of two registers to 64 bits, so even and
odd lanes are computed apart and blended. Everything else takes 64-bit arithmetic as it stands.

The last argument is ``SPARE`` where every mantissa is known to be below 2^(31 - SPARE), so that
``codes_x86`` may compute whole codes in fewer instructions; otherwise 0. It changes no value.
"""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.target import codegen

from footprint_compiler.kernels import codes_arm
from footprint_compiler.kernels.codes_x86 import SPARE, expand_codes, extended
from footprint_compiler.quant.fixed_point import FRACTION_BITS

_NAME = "tirx.q_multiply_shift"


def rescaled(accumulator: Any, mantissa: Any, spare: bool = False) -> Any:
    """``rescale`` of two int32 expressions; ``spare``: the mantissa is below 2^(31 - SPARE)."""
    bits, known = tirx.const(FRACTION_BITS, "int32"), tirx.const(SPARE * spare, "int32")
    return tirx.q_multiply_shift(accumulator, mantissa, bits, known)


def expand_rescale(module: Any, target: Any) -> Any:
    """Write out ``rescale`` in flat TIR, after vectorization."""
    triple, cpu = str(target.attrs.get("mtriple", "")), str(target.attrs.get("mcpu", ""))
    quad = ""
    if triple.startswith("aarch64"):
        quad = "llvm.aarch64.neon.sqrdmulh.v4i32"
    elif triple.startswith("arm"):
        quad = "llvm.arm.neon.vqrdmulh.v4i32"
    interleaved = triple.startswith("x86_64") and cpu not in ("", "x86-64")

    def expand(call: Any) -> Any:
        if not isinstance(call.op, tvm.ir.Op) or call.op.name != _NAME:
            return call
        a, m = call.args[0], call.args[1]
        lanes = int(str(call.ty.dtype).partition("x")[2] or 1)
        if quad and lanes % 4 == 0:
            return _quads(a, m, lanes, quad)
        if interleaved and lanes % 4 == 0:
            return _even_and_odd(a, m, lanes)
        return _wide(a, m, lanes)

    def body(func: Any) -> Any:
        found = func.body
        if interleaved:
            found = tvm_ffi.structural_map(found, (tirx.Cast, expand_codes(_has_512(target))))
        if quad:
            rule = codes_arm.expand_codes(triple.startswith("arm"))
            found = tvm_ffi.structural_map(found, (tirx.Cast, rule))
        return tvm_ffi.structural_map(found, (tvm.ir.Call, expand))

    functions = {
        var: tirx.PrimFunc(func.params, body(func), func.ret_type, func.attrs)
        for var, func in module.functions.items()
    }
    return tvm.IRModule(functions, attrs=module.attrs)


def _has_512(target: Any) -> bool:
    features = set(map(str, codegen.llvm_get_cpu_features(target)))
    return {"avx512f", "avx512bw"} <= features


def _vector(dtype: str, lanes: int) -> str:
    return dtype if lanes == 1 else f"{dtype}x{lanes}"


def _const(value: int, lanes: int) -> Any:
    scalar = tirx.const(value, "int64")
    return scalar if lanes == 1 else tirx.Broadcast(scalar, lanes)


def _wide(a: Any, m: Any, lanes: int) -> Any:
    wide = _vector("int64", lanes)
    rounded = a.astype(wide) * m.astype(wide) + _const(1 << (FRACTION_BITS - 1), lanes)
    shifted = tirx.shift_right(rounded, _const(FRACTION_BITS, lanes))
    return shifted.astype(_vector("int32", lanes))


def _quads(a: Any, m: Any, lanes: int, name: str) -> Any:
    parts = [
        tirx.call_llvm_pure_intrin("int32x4", name, _slice(a, k, lanes), _slice(m, k, lanes))
        for k in range(0, lanes, 4)
    ]
    if len(parts) == 1:
        return parts[0]
    return tirx.Shuffle(parts, [tirx.const(i, "int32") for i in range(lanes)])


def _slice(value: Any, first: int, lanes: int) -> Any:
    if lanes == 4:
        return value
    return tirx.Shuffle([value], [tirx.const(first + i, "int32") for i in range(4)])


def _even_and_odd(a: Any, m: Any, lanes: int) -> Any:
    half = lanes // 2
    moved = [tirx.const(i | 1, "int32") for i in range(lanes)]
    low = [extended(value, half) for value in (a, m)]
    high = [extended(tirx.Shuffle([value], moved), half) for value in (a, m)]
    rounding = _const(1 << (FRACTION_BITS - 1), half)
    even = tirx.shift_right(low[0] * low[1] + rounding, _const(FRACTION_BITS, half))
    odd = tirx.shift_left(high[0] * high[1] + rounding, _const(32 - FRACTION_BITS, half))
    blended = [tirx.reinterpret(f"int32x{lanes}", value) for value in (even, odd)]
    order = [i + (lanes if i % 2 else 0) for i in range(lanes)]
    return tirx.Shuffle(blended, [tirx.const(i, "int32") for i in order])
