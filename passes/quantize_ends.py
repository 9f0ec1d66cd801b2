"""QuantizeLinear of an input, and DequantizeLinear of an output, as operators with a C kernel.

    permute(quantize(x)) = one call, where x is a parameter;   dequantize(q) = one call

The arithmetic stays what it was (``kernels.quantize_linear``); only who generates it changes. What
is quantized after a float kernel stays an elementwise operator, so that it can join that kernel and
no float tensor is stored. Not matched: several scales, codes of other types than int8, scales out
of the range of ``kernels.c.float_ends``, and cores without C kernels for how they compute floats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax

from footprint_compiler.kernels.c.float_ends import (
    arithmetic_of,
    as_planes,
    has_dequantize,
    usable,
)
from footprint_compiler.kernels.c.operator import describe
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.kernels.quantize_linear import dequantize_linear, quantize_linear
from footprint_compiler.passes.base import PassContext
from footprint_compiler.passes.rebuild import (
    Rebuilder,
    constant_array,
    count_uses,
    integers,
    is_constant,
    op_name,
    shape_of,
    variables_of,
)

_ELEMENTWISE = 0
_BOUND = (relax.Call, relax.TupleGetItem, relax.Tuple)


@dataclass(frozen=True)
class QuantizeEnds:
    """See the module.

    Attributes:
        machine: of the target.
    """

    machine: Machine
    name: str = "quantize-ends"

    def run(self, module: Any, ctx: PassContext) -> Any:
        """Rewrite ``main``."""
        if not self.machine.c_unit or (_has_unit(ctx) and not self.machine.c_float):
            return module
        main = module["main"]
        arithmetic = arithmetic_of(self.machine.c_unit, self.machine.c_float)
        bindings = {b.var: b.value for block in main.body.blocks for b in block.bindings}
        uses, results = count_uses(main), set(variables_of(main.body.body))
        results |= {bindings[var] for var in results if isinstance(bindings.get(var), tvm.ir.Var)}
        entering = {
            var: value
            for var, value in bindings.items()
            if _is_plain(value, "relax.quantize") and value.args[0] in set(main.params)
        }
        joined = {
            value.args[0]: value
            for value in bindings.values()
            if op_name(value) == "relax.permute_dims"
            and value.args[0] in entering
            and uses[value.args[0]] == 1
            and as_planes(shape_of(value.args[0]), _axes(value)) is not None
        }
        rebuilder = Rebuilder(module)

        def visit(var: Any, value: Any) -> Any:
            if var in joined:
                return None  # computed by its only reader
            if var in entering:
                axes = list(range(len(shape_of(value))))
                return rebuilder.emit(_quantized(rebuilder, value, axes, arithmetic))
            if value in joined.values():
                quantize = entering[value.args[0]]
                return rebuilder.emit(_quantized(rebuilder, quantize, _axes(value), arithmetic))
            leaves = var in results and has_dequantize(arithmetic)
            if leaves and _is_plain(value, "relax.dequantize"):
                return rebuilder.emit(_dequantized(rebuilder, value, arithmetic))
            new = rebuilder.renamed(value)
            return rebuilder.emit(new) if isinstance(new, _BOUND) else new

        return rebuilder.run(visit, rebuilder.renamed, lambda var: var)


def _has_unit(ctx: PassContext) -> bool:
    """Whether the core computes floats by instructions."""
    return ctx.target is not None and ctx.target.tvm.get("mfloat-abi") == "hard"


def _is_plain(value: Any, name: str) -> bool:
    """Whether ``value`` is operator ``name`` between float32 and int8 with one usable scale."""
    if op_name(value) != name or not all(is_constant(value.args[at]) for at in (1, 2)):
        return False
    scale, zero = (constant_array(value.args[at]) for at in (1, 2))
    dtypes = {str(value.args[0].ty.dtype), str(value.ty.dtype)}
    plain = scale.size == zero.size == 1 and dtypes == {"float32", "int8"}
    return plain and scale.dtype == np.float32 and usable(float(scale.ravel()[0]))


def _parameters(value: Any) -> tuple[float, int]:
    scale, zero = (constant_array(value.args[at]).ravel()[0] for at in (1, 2))
    return float(scale), int(zero)


def _quantized(rebuilder: Rebuilder, value: Any, axes: list[int], arithmetic: str) -> Any:
    limits = np.iinfo(np.int8)
    rest = (axes, *_parameters(value), int(limits.min), int(limits.max), arithmetic)
    return _call(rebuilder, quantize_linear, value.args[0], rest, "quantize")


def _dequantized(rebuilder: Rebuilder, value: Any, arithmetic: str) -> Any:
    rest = (*_parameters(value), arithmetic)
    return _call(rebuilder, dequantize_linear, value.args[0], rest, "dequantize")


def _call(rebuilder: Rebuilder, function: Any, x: Any, rest: Any, name: str) -> Any:
    return rebuilder.builder.call_te(
        lambda tensor: function(tensor, *rest),
        rebuilder.renamed(x),
        primfunc_name_hint=name,
        primfunc_attrs={"op_pattern": _ELEMENTWISE, **describe(function, 1, rest)},
    )


def _axes(value: Any) -> list[int]:
    rank = len(shape_of(value.args[0]))
    given = value.attrs.axes
    return [at % rank for at in integers(given)] if given is not None else list(range(rank))[::-1]
