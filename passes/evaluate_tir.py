"""What an elementwise TIR function computes, in NumPy, for every value of its one operand.

Some operators have no Relax form and come from the frontend as tensor expressions. Where such a
function stores, for each element, an expression of the same element of one input, the expression
is evaluated here in float32, operator by operator as it is written.
"""

from __future__ import annotations

from collections.abc import Callable
from math import erf
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import s_tir, tirx


def elementwise(func: Any) -> Callable[[np.ndarray], np.ndarray] | None:
    """The function of a one-block ``PrimFunc`` (x, y); None for anything else."""
    if not isinstance(func.body, s_tir.SBlockRealize) or len(func.params) != 2:
        return None
    schedule = s_tir.Schedule(tvm.IRModule({"main": func}))
    blocks = schedule.get_child_blocks(schedule.get_sblock("root"))
    try:
        for block in blocks[:-1]:
            schedule.compute_inline(block)
    except s_tir.schedule.ScheduleError:
        return None
    block = schedule.get(blocks[-1])
    x = schedule.mod["main"].params[0]
    store = block.body
    if not isinstance(store, tirx.BufferStore) or block.init is not None:
        return None
    variables = [item.var for item in block.iter_vars]
    if not _same_element(store, x, variables):
        return None

    def function(values: np.ndarray) -> np.ndarray:
        return np.asarray(_Evaluator(values).value(store.value), dtype=np.float32)

    try:
        function(np.zeros(2, np.float32))
    except _UnknownError:
        return None
    return function


def _same_element(store: Any, x: Any, variables: list[Any]) -> bool:
    """Whether only the element that is written is read, of ``x`` alone."""
    fine = _identity(store.indices, variables)

    def visit(load: Any) -> None:
        nonlocal fine
        fine = fine and load.source.same_as(x) and _identity(load.indices, variables)

    tvm_ffi.structural_walk(store.value, (tvm.ir.TensorLoad, visit))
    return fine


def _identity(indices: Any, variables: list[Any]) -> bool:
    return len(indices) == len(variables) and all(
        at.same_as(var) or (isinstance(at, tirx.IntImm) and int(at) == 0)
        for at, var in zip(indices, variables, strict=True)
    )


class _UnknownError(Exception):
    """An expression that is not in the tables."""


class _Evaluator:
    def __init__(self, x: np.ndarray) -> None:
        self.x = x

    def value(self, expr: Any) -> Any:
        if isinstance(expr, tvm.ir.TensorLoad):
            return self.x
        if isinstance(expr, (tirx.IntImm, tirx.FloatImm)):
            return np.float32(expr.value) if isinstance(expr, tirx.FloatImm) else int(expr.value)
        if isinstance(expr, tirx.Cast):
            return np.asarray(self.value(expr.value)).astype(str(expr.ty.dtype))
        if isinstance(expr, tirx.Select):
            condition, first, second = expr.condition, expr.true_value, expr.false_value
            return np.where(self.value(condition), self.value(first), self.value(second))
        if isinstance(expr, tirx.Not):
            return np.logical_not(self.value(expr.a))
        if isinstance(expr, tvm.ir.Call):
            return self._call(expr)
        rule = _BINARY.get(type(expr).__name__)
        if rule is None:
            raise _UnknownError(type(expr).__name__)
        return rule(self.value(expr.a), self.value(expr.b))

    def _call(self, call: Any) -> Any:
        name = str(getattr(call.op, "name", "")).rpartition(".")[2]
        if name not in _CALLS:
            raise _UnknownError(name)
        return _CALLS[name](*(self.value(argument) for argument in call.args))


_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": lambda a, b: a / b,
    "Max": np.maximum,
    "Min": np.minimum,
    "LT": lambda a, b: a < b,
    "LE": lambda a, b: a <= b,
    "GT": lambda a, b: a > b,
    "GE": lambda a, b: a >= b,
    "EQ": lambda a, b: a == b,
    "NE": lambda a, b: a != b,
    "And": np.logical_and,
    "Or": np.logical_or,
}
_CALLS: dict[str, Callable[..., Any]] = {
    "if_then_else": np.where,
    "exp": np.exp,
    "exp2": np.exp2,
    "log": np.log,
    "log1p": np.log1p,
    "log2": np.log2,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "fabs": np.abs,
    "floor": np.floor,
    "ceil": np.ceil,
    "nearbyint": np.rint,
    "pow": np.power,
    "erf": lambda x: np.array([erf(float(v)) for v in np.ravel(x)], np.float32).reshape(x.shape),
    "sin": np.sin,
    "cos": np.cos,
}
