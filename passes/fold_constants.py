"""Evaluate operators whose tensor operands are all constants, at build time, in NumPy.

Only operators that graph imports leave behind are in the table; each is computed by the formula
of its definition in the dtype that it has at run time, so the result is the one that the kernel
would give. Anything else with constant operands is compiled like the rest.
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
    integers,
    is_constant,
    op_name,
    shape_of,
    tensor_constant,
)


@dataclass(frozen=True)
class FoldConstants:
    """See the module."""

    name: str = "fold-constants"

    def run(self, module: Any, ctx: PassContext) -> Any:
        """Rewrite ``main``."""
        rebuilder = Rebuilder(module)

        def visit(_: Any, expr: Any) -> Any:
            new = rebuilder.renamed(expr)
            if not isinstance(new, relax.Call):
                return new if is_constant(new) else rebuilder.emit(new)
            tensors = [arg for arg in new.args if isinstance(arg.ty, relax.TensorType)]
            rule = _RULES.get(op_name(expr))
            if rule is None or not tensors or not all(is_constant(arg) for arg in tensors):
                return rebuilder.emit(new)
            arrays = [constant_array(arg) for arg in tensors]
            return tensor_constant(rule(expr, arrays))

        return rebuilder.run(visit, rebuilder.renamed, lambda var: var)


def _along(axis: int, rank: int, values: np.ndarray) -> np.ndarray:
    if values.ndim == 0 or values.size == 1:
        return values.reshape(())
    shape = [1] * rank
    shape[axis % rank] = -1
    return values.reshape(shape)


def _dequantize(call: Any, arrays: list[np.ndarray]) -> np.ndarray:
    x, scale, zero = arrays
    axis = int(call.attrs.axis)
    centred = x.astype(np.float32) - _along(axis, x.ndim, zero).astype(np.float32)
    result: np.ndarray = centred * _along(axis, x.ndim, scale).astype(np.float32)
    return result.astype(str(call.attrs.out_dtype))


def _permute(call: Any, arrays: list[np.ndarray]) -> np.ndarray:
    axes = call.attrs.axes
    return arrays[0].transpose(integers(axes) if axes is not None else None)


_RULES: dict[str, Callable[[Any, list[np.ndarray]], np.ndarray]] = {
    "relax.dequantize": _dequantize,
    "relax.permute_dims": _permute,
    "relax.reshape": lambda call, arrays: arrays[0].reshape(shape_of(call)),
    "relax.expand_dims": lambda call, arrays: arrays[0].reshape(shape_of(call)),
    "relax.squeeze": lambda call, arrays: arrays[0].reshape(shape_of(call)),
    "relax.astype": lambda call, arrays: arrays[0].astype(str(call.ty.dtype)),
}
