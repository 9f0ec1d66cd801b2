"""Indices of row kernels in the width of a pointer: the sign extension moves to the terms of sums.

    x[extend(a * 4 + b + 6)]  ->  x[extend(a) * 4 + extend(b) + 6]

Both are equal as no index overflows. LLVM does the first for each access: it can take the extension
out of a loop only where it proves that the sum does not overflow, which it cannot where a term is a
parameter: the row. Terms are loop variables or constant in the loop, so that accesses which differ
by a constant share one address. Other kernels have no such term, and LLVM vectorizes their loops as
they are.
"""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

from footprint_compiler.kernels.rings import ROW_KERNEL

_SUMS = (tirx.Add, tirx.Sub, tirx.Mul)


def widen_row_indices(func: Any, target: Any) -> Any:
    """``func``, in flat TIR, with sums in the indices of its loads and stores in 64 bits.

    As it is where it has no rows or pointers of ``target``, a ``tvm.target.Target``, are narrower.
    """
    wide = str(target.attrs.get("mtriple", "")).startswith(("x86_64", "aarch64"))
    if not wide or not func.attrs or ROW_KERNEL not in func.attrs:
        return func

    def load(expr: Any) -> Any:
        return tirx.BufferLoad(expr.source, [_index(at) for at in expr.indices])

    def store(stmt: Any) -> Any:
        return tirx.BufferStore(stmt.buffer, stmt.value, [_index(at) for at in stmt.indices])

    maps = [(tvm.ir.TensorLoad, load), (tirx.BufferStore, store)]
    body = tvm_ffi.structural_map(func.body, maps)
    return tirx.PrimFunc(func.params, body, func.ret_type, func.attrs)


def _index(at: Any) -> Any:
    if isinstance(at, tirx.Ramp):
        if not _is_sum(at.base) or not isinstance(at.stride, tirx.IntImm):
            return at
        return tirx.Ramp(_wide(at.base), tirx.IntImm("int64", int(at.stride)), at.lanes)
    return _wide(at) if _is_sum(at) else at


def _is_sum(at: Any) -> bool:
    return isinstance(at, _SUMS) and str(at.ty.dtype) == "int32"


def _wide(term: Any) -> Any:
    if isinstance(term, tirx.IntImm):
        return tirx.IntImm("int64", int(term))
    if isinstance(term, _SUMS):
        return type(term)(_wide(term.a), _wide(term.b))
    return term.astype("int64")
