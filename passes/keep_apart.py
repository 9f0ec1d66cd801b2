"""Operators that have a C kernel of their own stay functions of their own.

Fusion would join them with elementwise work around them, and what comes out has TIR only. Marks
them opaque; everything else is left as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx

from footprint_compiler.kernels.c.units import stays_apart
from footprint_compiler.passes.base import PassContext
from footprint_compiler.passes.opaque import OPAQUE


@dataclass(frozen=True)
class KeepApart:
    """See the module.

    Attributes:
        unit: the set of C kernels of the target, as ``kernels.c.units`` names it.
    """

    unit: str
    name: str = "keep-apart"

    def run(self, module: Any, ctx: PassContext) -> Any:
        """Mark the functions of ``module`` that have a C kernel."""
        functions = {
            var: func.with_attr("op_pattern", OPAQUE)
            for var, func in module.functions.items()
            if isinstance(func, tirx.PrimFunc) and stays_apart(func, self.unit)
        }
        if not functions:
            return module
        marked = module.clone()
        for var, func in functions.items():
            marked.update_func(var, func)
        return marked
