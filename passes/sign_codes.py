"""uint8 tensors inside a graph as int8 ones, for cores whose kernels read int8 only.

    real = scale * (q - zero) = scale * ((q - 128) - (zero - 128))

The same real numbers, so the same results: scales stay, codes and zero points move by 128, and
halves are rounded before the zero point is added. What the graph takes or gives as uint8 stays
that and is converted beside it, by DequantizeLinear and QuantizeLinear, which is exact for the 256
codes of one scale. Constants keep their type: weights have zero point 0 in every kernel.

Not matched: codes with one scale per channel, and scales or zero points that are not constant.
"""

from __future__ import annotations

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
    tensor_constant,
    variables_of,
)

_SHIFT = 128
_BOUND = (relax.Call, relax.TupleGetItem, relax.Tuple)


@dataclass(frozen=True)
class SignCodes:
    """See the module."""

    name: str = "sign-codes"

    def run(self, module: Any, ctx: PassContext) -> Any:
        """Rewrite ``main``; a module without uint8 codes is returned as it is."""
        bindings = [b for block in module["main"].body.blocks for b in block.bindings]
        if not any(_is_unsigned(b.value) for b in bindings):
            return module
        rebuilder = Rebuilder(module)
        emit = rebuilder.emit
        elsewhere = _read_otherwise(module)
        signed: dict[Any, Any] = {}
        given = set(module["main"].params)

        def quantize(var: Any, call: Any) -> Any:
            _, scale, zero = call.args
            real = rebuilder.renamed(call.args[0])
            codes = emit(_quantize(real, scale, _moved(zero), "int8"))
            signed[var] = codes
            if var not in elsewhere:
                return codes
            again = emit(_dequantize(codes, scale, _moved(zero)))
            return emit(_quantize(again, scale, zero, "uint8"))

        def dequantize(call: Any) -> Any:
            source, scale, zero = call.args
            if source in signed:
                return emit(_dequantize(signed[source], scale, _moved(zero)))
            real = emit(rebuilder.renamed(call))
            if source not in given:
                return real
            codes = emit(_quantize(real, scale, _moved(zero), "int8"))
            return emit(_dequantize(codes, scale, _moved(zero)))

        def visit(var: Any, expr: Any) -> Any:
            if _is_unsigned(expr):
                quantizes = op_name(expr) == "relax.quantize"
                return quantize(var, expr) if quantizes else dequantize(expr)
            new = rebuilder.renamed(expr)
            return emit(new) if isinstance(new, _BOUND) else new

        return rebuilder.run(visit, rebuilder.renamed, lambda var: var)


def _is_unsigned(call: Any) -> bool:
    """Whether a call quantizes to or dequantizes from uint8 with one constant scale."""
    name = op_name(call)
    if name not in ("relax.quantize", "relax.dequantize"):
        return False
    codes = call if name == "relax.quantize" else call.args[0]
    if str(codes.ty.dtype) != "uint8" or is_constant(codes):
        return False
    return all(is_constant(a) and constant_array(a).size == 1 for a in call.args[1:])


def _read_otherwise(module: Any) -> set[Any]:
    """Variables that something else than such a DequantizeLinear reads."""
    main = module["main"]
    found = set(variables_of(main.body.body))
    for block in main.body.blocks:
        for binding in block.bindings:
            value = binding.value
            if op_name(value) == "relax.dequantize" and _is_unsigned(value):
                value = relax.Tuple(value.args[1:])
            found.update(variables_of(value))
    return found


def _moved(zero: Any) -> Any:
    array = constant_array(zero).astype(np.int64) - _SHIFT
    return tensor_constant(array.astype(np.int8))


def _quantize(real: Any, scale: Any, zero: Any, dtype: str) -> Any:
    return relax.op.quantize(real, scale, zero, -1, dtype)


def _dequantize(codes: Any, scale: Any, zero: Any) -> Any:
    return relax.op.dequantize(codes, scale, zero, -1, "float32")
