"""Small constant powers become multiplications.

x^1 = x, x^2 = x * x, x^3 = x * x * x, x^4 = (x * x) * (x * x), x^0.5 = sqrt(x), x^-1 = 1 / x,
exact up to rounding; x^0.5 differs for x = -inf only (NaN instead of inf). Every other exponent
stays a power.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax

from footprint_compiler.passes.base import PassContext
from footprint_compiler.passes.rebuild import (
    Rebuilder,
    constant_array,
    is_constant,
    op_name,
    shape_of,
)


def _fourth(emit: Callable[[Any], Any], x: Any) -> Any:
    square = emit(relax.op.multiply(x, x))
    return emit(relax.op.multiply(square, square))


def _third(emit: Callable[[Any], Any], x: Any) -> Any:
    return emit(relax.op.multiply(emit(relax.op.multiply(x, x)), x))


_EXPANSIONS: dict[float, Callable[[Callable[[Any], Any], Any], Any]] = {
    1.0: lambda emit, x: x,
    2.0: lambda emit, x: emit(relax.op.multiply(x, x)),
    3.0: _third,
    4.0: _fourth,
    0.5: lambda emit, x: emit(relax.op.sqrt(x)),
    -1.0: lambda emit, x: emit(relax.op.divide(relax.const(1.0, str(x.ty.dtype)), x)),
}


@dataclass(frozen=True)
class ExpandPower:
    """See the module."""

    name: str = "expand-power"

    def run(self, module: Any, ctx: PassContext) -> Any:
        """Rewrite ``main``."""
        rebuilder = Rebuilder(module)

        def visit(_: Any, expr: Any) -> Any:
            new = rebuilder.renamed(expr)
            if op_name(new) != "relax.power" or not is_constant(new.args[1]):
                return rebuilder.emit(new)
            exponents = np.unique(constant_array(new.args[1]))
            x = new.args[0]
            expansion = _EXPANSIONS.get(float(exponents[0])) if exponents.size == 1 else None
            floating = str(x.ty.dtype).startswith("float")
            if expansion is None or not floating or shape_of(x) != shape_of(expr):
                ctx.decline(self.name, f"exponent {exponents.tolist()} of {x.ty.dtype}")
                return rebuilder.emit(new)
            return expansion(rebuilder.emit, x)

        return rebuilder.run(visit, rebuilder.renamed, lambda var: var)
