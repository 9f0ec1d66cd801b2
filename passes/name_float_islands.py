"""Say which operators compute in float between quantized tensors, after ``lower-qdq``.

No operator is rewritten; ``main`` gets an attribute, from which the manifest has them. An operator
belongs to an island when it reads, directly or through other operators, what a dequantize made;
operators that only move elements are not named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax

from footprint_compiler.passes.base import PassContext
from footprint_compiler.passes.move_codes import MOVES
from footprint_compiler.passes.qdq_graph import REASONS
from footprint_compiler.passes.rebuild import op_name

ISLANDS = "fpc.float_islands"
"""Attribute of ``main``: (variable, operator, reason) of each."""


@dataclass(frozen=True)
class NameFloatIslands:
    """See the module."""

    name: str = "name-float-islands"

    def run(self, module: Any, ctx: PassContext) -> Any:
        """One line for each operator, at the level of ``fpc build -v``."""
        islands = float_islands(module)
        for island in islands:
            ctx.reporter.log(f"{island} (see --explain lower-qdq)", "debug")
        if not islands:
            return module
        named = module.clone()
        main = named.get_global_var("main")
        rows = [[island.variable, island.operator, island.reason] for island in islands]
        named.update_func(main, named[main].with_attr(ISLANDS, rows))
        return named


def recorded_islands(module: Any) -> list[Island]:
    """What the pass found, from a module that later passes made of its result."""
    main = module["main"]
    rows = main.attrs.get(ISLANDS, []) if main.attrs else []
    return [Island(*(str(text) for text in row)) for row in rows]


@dataclass(frozen=True)
class Island:
    """One operator that computes in float from quantized tensors."""

    variable: str
    operator: str
    reason: str

    def __str__(self) -> str:
        return f"{self.variable} ({self.operator}) stays in float: {self.reason}"


def float_islands(module: Any) -> list[Island]:
    """What computes in float from quantized tensors, in order."""
    main = module["main"]
    reasons = dict(main.attrs.get(REASONS, {})) if main.attrs else {}
    bindings = [binding for block in main.body.blocks for binding in block.bindings]
    quantized = {
        var
        for binding in bindings
        if op_name(binding.value) == "relax.quantize"
        for var in _variables(binding.value)
    }
    found: list[Island] = []
    floats: set[Any] = set()
    for binding in bindings:
        name = op_name(binding.value)
        reads = name != "relax.quantize" and any(var in floats for var in _variables(binding.value))
        if (reads or name == "relax.dequantize") and _has_float(binding.var):
            floats.add(binding.var)
        if reads and name and name not in MOVES:
            variable = str(binding.var.name)
            reason = reasons.get(variable)
            if reason is None and binding.var not in quantized:
                reason = "its result is not quantized"
            operator = _operator(binding.value, name)
            found.append(Island(variable, operator, str(reason or "no integer kernel computes it")))
    return found


def _has_float(var: Any) -> bool:
    fields = var.ty.fields if isinstance(var.ty, relax.TupleType) else [var.ty]
    return any("float" in str(getattr(field, "dtype", "")) for field in fields)


def _operator(call: Any, name: str) -> str:
    """Of Relax, or the name of the kernel that the frontend wrote."""
    if name == "relax.call_tir":
        return str(call.args[0].name_hint)
    return name.removeprefix("relax.")


def _variables(expr: Any) -> list[Any]:
    """Variables that an expression reads, tuples flattened."""
    if isinstance(expr, relax.Call):
        return [var for argument in expr.args for var in _variables(argument)]
    if isinstance(expr, relax.Tuple):
        return [var for item in expr.fields for var in _variables(item)]
    if isinstance(expr, relax.TupleGetItem):
        return _variables(expr.tuple_value)
    return [expr] if isinstance(expr, tvm.ir.Var) else []
