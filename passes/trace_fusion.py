"""Which operators of the unfused graph each fused call stands for.

Fusion keeps one copy of identical fused functions and renames results, so names are lost. Both
graphs are walked in order here: every call inside a fused function has the same callee and, once
its arguments are followed back, the same arguments as exactly one binding of the unfused graph
(common subexpressions are gone by then; of equal bindings, the first would be taken).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import tvm
from tvm import relax

from footprint_compiler.passes.rebuild import is_constant, op_name


def trace_fusion(before: Any, after: Any) -> list[tuple[str, ...]]:
    """Variable names of ``before`` for each ``call_tir`` or fused call of ``after``, in order.

    Args:
        before: module whose ``main`` calls single operators.
        after: the same after operator fusion, fused Relax functions not yet merged to TIR.
    """
    return _Trace(before, after).run()


def trace_results(before: Any, after: Any) -> dict[Any, Any]:
    """Variable of ``before`` -> the variable of ``after`` that holds the same value.

    Only values that ``after`` still has: what is computed inside a fused call is not among them.
    """
    trace = _Trace(before, after)
    trace.run()
    return {old: new for new, old in trace.old.items() if isinstance(old, tvm.ir.Var)}


class _Trace:
    def __init__(self, before: Any, after: Any) -> None:
        self.after = after
        self.pending: dict[Any, list[Any]] = defaultdict(list)
        for block in before["main"].body.blocks:
            for binding in block.bindings:
                self.pending[_callee(binding.value)].append(binding)
        self.old: dict[Any, Any] = dict(
            zip(after["main"].params, before["main"].params, strict=True)
        )

    def run(self) -> list[tuple[str, ...]]:
        names: list[tuple[str, ...]] = []
        for block in self.after["main"].body.blocks:
            for binding in block.bindings:
                value = binding.value
                if isinstance(value, relax.Call) and isinstance(value.op, relax.GlobalVar):
                    inner, result = self._enter(self.after[value.op], value.args)
                    self.old[binding.var] = result
                    names.append(inner)
                    continue
                found = self._match(value, self.old)
                if found is not None:
                    self.old[binding.var] = found.var
                if op_name(value) == "relax.call_tir":
                    names.append((str(found.var.name),) if found is not None else ())
        return names

    def _enter(self, func: Any, arguments: Any) -> tuple[tuple[str, ...], Any]:
        scope = {
            param: self._resolve(argument, self.old)
            for param, argument in zip(func.params, arguments, strict=True)
        }
        names = []
        for block in func.body.blocks:
            for binding in block.bindings:
                found = self._match(binding.value, scope)
                if found is not None:
                    scope[binding.var] = found.var
                    names.append(str(found.var.name))
        return tuple(names), self._resolve(func.body.body, scope)

    def _resolve(self, expr: Any, scope: Mapping[Any, Any]) -> Any:
        if isinstance(expr, relax.Tuple):
            return tuple(self._resolve(item, scope) for item in expr.fields)
        return scope.get(expr, expr) if isinstance(expr, tvm.ir.Var) else expr

    def _match(self, value: Any, scope: Mapping[Any, Any]) -> Any:
        """The binding of the unfused graph that computes ``value``; each is taken once."""
        waiting = self.pending[_callee(value)]
        mine = [self._resolve(item, scope) for item in _operands(value)]
        for position, binding in enumerate(waiting):
            theirs = _operands(binding.value)
            if len(mine) == len(theirs) and all(map(_same, mine, theirs)):
                return waiting.pop(position)
        return None


def _callee(value: Any) -> Any:
    if op_name(value) == "relax.call_tir":
        return str(value.args[0].name_hint)
    if isinstance(value, relax.TupleGetItem):
        return ("item", int(value.index))
    return op_name(value) or type(value).__name__


def _operands(value: Any) -> list[Any]:
    """Tensor operands, tuples flattened."""
    if isinstance(value, relax.TupleGetItem):
        return [value.tuple_value]
    if not isinstance(value, relax.Call):
        return [value]
    found: list[Any] = []
    start = 1 if op_name(value) == "relax.call_tir" else 0
    for argument in value.args[start:]:
        found += list(argument.fields) if isinstance(argument, relax.Tuple) else [argument]
    return found


def _same(a: Any, b: Any) -> bool:
    if is_constant(a) and is_constant(b):
        return bool(a.same_as(b) or a.value.same_as(b.value))
    return bool(a.same_as(b)) if hasattr(a, "same_as") else True
