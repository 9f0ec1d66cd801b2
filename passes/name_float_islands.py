"""Say which operators compute in float between quantized tensors, after ``lower-qdq``.

Nothing is rewritten. An operator belongs to an island when it reads, directly or through other
operators, what a dequantize made; operators that only move elements are not named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax

from footprint_compiler.passes.base import PassContext
from footprint_compiler.passes.move_codes import MOVES
from footprint_compiler.passes.rebuild import op_name


@dataclass(frozen=True)
class NameFloatIslands:
    """See the module."""

    name: str = "name-float-islands"

    def run(self, module: Any, ctx: PassContext) -> Any:
        """One line for each operator, at the level of ``fpc build -v``."""
        for variable, operator in float_islands(module):
            reason = f"no integer kernel for this {operator} (see --explain lower-qdq)"
            ctx.reporter.log(f"{variable} stays in float: {reason}", "debug")
        return module


def float_islands(module: Any) -> list[tuple[str, str]]:
    """(variable, operator) of what computes in float from quantized tensors, in order."""
    found: list[tuple[str, str]] = []
    floats: set[Any] = set()
    for block in module["main"].body.blocks:
        for binding in block.bindings:
            name = op_name(binding.value)
            reads = name != "relax.quantize" and any(
                var in floats for var in _variables(binding.value)
            )
            if reads or name == "relax.dequantize":
                floats.add(binding.var)
            if reads and name and name not in MOVES:
                found.append((str(binding.var.name), name.removeprefix("relax.")))
    return found


def _variables(expr: Any) -> list[Any]:
    """Variables that an expression reads, tuples flattened."""
    if isinstance(expr, relax.Call):
        return [var for argument in expr.args for var in _variables(argument)]
    if isinstance(expr, relax.Tuple):
        return [var for item in expr.fields for var in _variables(item)]
    if isinstance(expr, relax.TupleGetItem):
        return _variables(expr.tuple_value)
    return [expr] if isinstance(expr, tvm.ir.Var) else []
