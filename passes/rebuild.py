"""Rebuild the one function of a model, binding by binding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import tvm
from tvm import relax

_Watcher = Callable[[Mapping[Any, Any]], None]
_WATCHER: ContextVar[_Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watch_values(watcher: _Watcher) -> Iterator[None]:
    """Within the block, every rewrite tells ``watcher`` what stands for each old variable."""
    token = _WATCHER.set(watcher)
    try:
        yield
    finally:
        _WATCHER.reset(token)


class Rebuilder:
    """Walks ``main`` in order and emits a new one.

    ``visit`` receives each bound value and returns what stands for it (any Python object);
    ``result`` turns such objects into expressions for the function's result.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        self.main = module["main"]
        others = {gv: f for gv, f in module.functions.items() if gv.name_hint != "main"}
        self.builder = relax.BlockBuilder(tvm.IRModule(others, attrs=module.attrs))
        self.values: dict[Any, Any] = {}
        self._hint = ""

    @property
    def current(self) -> str:
        """Name of the binding that is being rebuilt, or "the result"."""
        return self._hint or "the result"

    def emit(self, expr: Any, name: str = "") -> Any:
        """Bind an expression; its variable is named after the binding that is being rebuilt.

        A variable is returned as it is: a second name would make every pass seem to change.
        """
        if isinstance(expr, tvm.ir.Var):
            return expr
        return self.builder.emit(expr, name_hint=name or self._hint)

    def run(
        self,
        visit: Callable[[Any, Any], Any],
        result: Callable[[Any], Any],
        param: Callable[[Any], Any],
    ) -> Any:
        """The rebuilt module.

        Args:
            visit: (variable, value expression) -> stand-in.
            result: expression of the old result -> expression of the new one.
            param: parameter variable -> stand-in.
        """
        builder, main = self.builder, self.main
        for var in main.params:
            self.values[var] = param(var)
        with builder.function("main", list(main.params)):
            with builder.dataflow():
                for block in main.body.blocks:
                    for binding in block.bindings:
                        self._hint = str(binding.var.name)
                        self.values[binding.var] = visit(binding.var, binding.value)
                self._hint = ""
                output = builder.emit_output(result(main.body.body))
            builder.emit_func_output(output)
        rebuilt = builder.finalize()
        watcher = _WATCHER.get()
        if watcher is not None:
            watcher(self.values)
        if main.attrs:
            rebuilt.update_func(
                rebuilt.get_global_var("main"),
                rebuilt["main"].with_attrs(dict(main.attrs.items())),
            )
        return rebuilt

    def renamed(self, expr: Any) -> Any:
        """``expr`` over the new variables; for visitors whose stand-ins are expressions."""
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self.renamed(item) for item in expr.fields])
        if isinstance(expr, relax.TupleGetItem):
            return relax.TupleGetItem(self.renamed(expr.tuple_value), expr.index)
        if isinstance(expr, relax.Call):
            arguments = [self.renamed(argument) for argument in expr.args]
            return relax.Call(expr.op, arguments, expr.attrs, expr.ty_args)
        return self.values.get(expr, expr) if isinstance(expr, tvm.ir.Var) else expr


def variables_of(expr: Any) -> Iterator[Any]:
    """Each variable that an expression reads, as often as it does."""
    if isinstance(expr, tvm.ir.Var):
        yield expr
    elif isinstance(expr, relax.Tuple):
        for item in expr.fields:
            yield from variables_of(item)
    elif isinstance(expr, relax.TupleGetItem):
        yield from variables_of(expr.tuple_value)
    elif isinstance(expr, relax.Call):
        for argument in expr.args:
            yield from variables_of(argument)


def count_uses(main: Any) -> Counter[Any]:
    """How often each variable of a function is read; its results count."""
    values = [binding.value for block in main.body.blocks for binding in block.bindings]
    return Counter(var for expr in (*values, main.body.body) for var in variables_of(expr))


def is_constant(expr: Any) -> bool:
    """Whether ``expr`` is a tensor known at compile time."""
    return isinstance(expr, tvm.ir.GenericConst) and hasattr(expr.value, "numpy")


def constant_array(expr: Any) -> np.ndarray:
    """The NumPy array of a Relax constant."""
    array: np.ndarray = expr.value.numpy()
    return array


def tensor_constant(array: np.ndarray) -> Any:
    """A Relax constant of the array's own dtype and shape (``relax.const`` narrows 64-bit ones)."""
    return relax.const(np.asarray(array, order="C"), str(array.dtype))


def op_name(expr: Any) -> str:
    """``relax.add`` and so on, or an empty string for what is not an operator call."""
    if isinstance(expr, relax.Call) and isinstance(expr.op, tvm.ir.Op):
        return str(expr.op.name)
    return ""


def shape_of(expr: Any) -> tuple[int, ...]:
    """Static shape of a tensor expression."""
    return tuple(int(extent) for extent in expr.ty.shape)


def integers(values: Any) -> list[int]:
    """Python integers of a TVM array or tuple."""
    return [int(getattr(value, "value", value)) for value in values]
