"""The loop over output rows of a row kernel becomes its last parameter.

Until here the row, and the first row in each ring, are loop variables, so that simplification knows
their range.
"""

from __future__ import annotations

from typing import Any

import tvm_ffi
from tvm import tirx

from footprint_compiler.kernels.rings import BASE, ROW, ROW_KERNEL
from footprint_compiler.kernels.tir import substitute


def take_row(func: Any, body: Any) -> tuple[Any, list[Any]]:
    """(body without the loop, the parameter); the body as it is where ``func`` has no rows.

    A kernel of one row has lost its loop to simplification, but not the parameter.
    """
    if not func.attrs or ROW_KERNEL not in func.attrs:
        return body, []
    row = tirx.Var("row", "int32")

    def open_loop(stmt: Any) -> Any:
        if ROW in stmt.annotations:
            return substitute(stmt.body, {stmt.loop_var: _as(row, stmt.loop_var)})
        if BASE not in stmt.annotations:
            return stmt
        stride, offset, ring = (int(number) for number in stmt.annotations[BASE])
        base = tirx.Var(str(stmt.loop_var.name), "int32")
        first = row * tirx.const(stride, "int32") + tirx.const(offset, "int32")
        value = tirx.truncmod(first, tirx.const(ring, "int32"))
        body = substitute(stmt.body, {stmt.loop_var: _as(base, stmt.loop_var)})
        return tirx.SeqStmt([tirx.Bind(base, value), body])

    return tvm_ffi.structural_map(body, (tirx.For, open_loop)), [row]


def _as(variable: Any, like: Any) -> Any:
    dtype = str(like.ty.dtype)
    return variable if dtype == "int32" else variable.astype(dtype)
