"""Replace calls of elementary functions in flat TIR by the arithmetic of ``kernels.math``.

Marking comes before TVM lowers intrinsics, expansion after it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

from footprint_compiler.kernels.math import ARITHMETIC, ROUNDING, Shape
from footprint_compiler.kernels.tir import CONDITIONAL

_PREFIX = "fpc."


def mark_math(module: Any, rounding_instructions: bool) -> Any:
    """Name the calls that ``expand_math`` will replace, so that no pass in between lowers them.

    Args:
        module: flat TIR, after vectorization.
        rounding_instructions: whether the core rounds to integral floats by itself.
    """
    table = ARITHMETIC if rounding_instructions else {**ARITHMETIC, **ROUNDING}

    def mark(call: Any) -> Any:
        # most are tirx.floor and the like, but the operator behind ceil is prim.ceil
        name = call.op.name.rpartition(".")[2] if isinstance(call.op, tvm.ir.Op) else ""
        if name not in (*table, "rsqrt") or not str(call.ty.dtype).startswith("float32"):
            return call
        dtype = str(call.ty.dtype)
        if name == "rsqrt":
            one = Shape(_lanes(dtype)).const(1.0)
            return one / tirx.sqrt(call.args[0])
        return tirx.call_pure_extern(dtype, _PREFIX + name, call.args[0])

    return _map_calls(module, mark)


def expand_math(module: Any) -> Any:
    """Write out the marked calls; their variables are bound right before the statement.

    A condition around a call may guard a load in its argument, so the argument takes it along.
    """
    return tvm.IRModule(
        {var: _expand_function(func) for var, func in module.functions.items()},
        attrs=module.attrs,
    )


def _expand_function(func: Any) -> Any:
    def statement(stmt: Any) -> Any:
        bindings: list[Any] = []

        def expand(call: Any) -> Any:
            name = _marked(call)
            if name is None:
                return call
            shape = Shape(_lanes(str(call.ty.dtype)))
            result = {**ARITHMETIC, **ROUNDING}[name](call.args[1], shape)
            bindings.extend(shape.bindings)
            return result

        stmt = tvm_ffi.structural_map(stmt, (tvm.ir.Call, expand))
        return tirx.SeqStmt([*bindings, stmt]) if bindings else stmt

    body = tvm_ffi.structural_map(func.body, (tvm.ir.Call, _guard_arguments))
    body = tvm_ffi.structural_map(body, ((tirx.BufferStore, tirx.Bind), statement))
    body = tvm_ffi.structural_map(body, (tvm.ir.Call, _call_library))
    return tirx.PrimFunc(func.params, body, func.ret_type, func.attrs)


def _guard_arguments(call: Any) -> Any:
    """``c ? f(a) : b`` as ``c ? f(c ? a : 1) : b``, and likewise where the call is in ``b``."""
    if not isinstance(call.op, tvm.ir.Op) or call.op.name != CONDITIONAL:
        return call
    condition, *values = call.args

    def guard(inner: Any, taken: bool) -> Any:
        if _marked(inner) is None:
            return inner
        argument, one = inner.args[1], Shape(_lanes(str(inner.ty.dtype))).const(1.0)
        chosen = (argument, one) if taken else (one, argument)
        safe = tirx.if_then_else(condition, *chosen)
        return tirx.call_pure_extern(str(inner.ty.dtype), str(inner.args[0].value), safe)

    values = [
        tvm_ffi.structural_map(value, (tvm.ir.Call, partial(guard, taken=taken)))
        for value, taken in zip(values, (True, False), strict=True)
    ]
    return tirx.if_then_else(condition, *values)


def _marked(call: Any) -> str | None:
    if not isinstance(call.op, tvm.ir.Op) or call.op.name != "tirx.call_pure_extern":
        return None
    name = str(call.args[0].value)
    return name.removeprefix(_PREFIX) if name.startswith(_PREFIX) else None


def _call_library(call: Any) -> Any:
    """The C library's function for a marked scalar call."""
    name = _marked(call)
    if name is None:
        return call
    if name == "sigmoid":
        one = tirx.const(1.0, "float32")
        power = tirx.call_pure_extern("float32", "expf", tirx.const(0.0, "float32") - call.args[1])
        return one / (one + power)
    return tirx.call_pure_extern(str(call.ty.dtype), f"{name}f", call.args[1])


def _lanes(dtype: str) -> int:
    return int(dtype.partition("x")[2] or 1)


def _map_calls(module: Any, change: Callable[[Any], Any]) -> Any:
    functions = {
        var: tirx.PrimFunc(
            func.params,
            tvm_ffi.structural_map(func.body, (tvm.ir.Call, change)),
            func.ret_type,
            func.attrs,
        )
        for var, func in module.functions.items()
    }
    return tvm.IRModule(functions, attrs=module.attrs)
