"""Calls that fusion must leave alone: their functions get opaque copies."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from tvm import relax, tirx

from footprint_compiler.passes.rebuild import Rebuilder, op_name

INJECTIVE, OPAQUE = 2, 8
"""``OpPatternKind``: elementwise, broadcast and injective are up to 2; 8 is never fused."""


def pattern_of(function: Any) -> int:
    """``OpPatternKind`` of a TIR function."""
    attrs = function.attrs or {}
    return int(attrs["op_pattern"]) if "op_pattern" in attrs else OPAQUE


def tir_calls(module: Any) -> Iterator[tuple[Any, Any, Any]]:
    """(variable, call, TIR function) of every call of one in main, in order."""
    for block in module["main"].body.blocks:
        for binding in block.bindings:
            if op_name(binding.value) != "relax.call_tir":
                continue
            function = module[binding.value.args[0]]
            if isinstance(function, tirx.PrimFunc):
                yield binding.var, binding.value, function


def with_opaque(module: Any, calls: Collection[Any]) -> Any:
    """``module`` with opaque functions called where ``calls``, variables of main, are bound.

    The module itself where there are none.
    """
    if not calls:
        return module
    rebuilder = Rebuilder(module)
    copies: dict[Any, Any] = {}

    def visit(var: Any, expr: Any) -> Any:
        new = rebuilder.renamed(expr)
        if var in calls:
            function = expr.args[0]
            if function not in copies:
                opaque = module[function].with_attr("op_pattern", OPAQUE)
                copies[function] = rebuilder.builder.add_func(opaque, function.name_hint)
            new = relax.Call(new.op, [copies[function], *new.args[1:]], new.attrs, new.ty_args)
        bound = (relax.Call, relax.TupleGetItem, relax.Tuple)
        return rebuilder.emit(new) if isinstance(new, bound) else new

    return rebuilder.run(visit, rebuilder.renamed, lambda var: var)
