"""Move quantization across operators that only rearrange elements, until it meets arithmetic.

    move(dequantize(q)) = dequantize(move(q))        quantize(move(x)) = move(quantize(x))

Exact for one scale, because every element is converted alike; for one scale per channel where
the move is a transposition. Layouts put such operators between a convolution and its quantized
operands, where the rules of ``lower-qdq`` would not see through them.

Not matched: a reshape of a tensor with one scale per channel, and results of rank 0.
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
    integers,
    is_constant,
    op_name,
    shape_of,
    tensor_constant,
)

PERMUTE = "relax.permute_dims"
MOVES = ("relax.reshape", "relax.expand_dims", "relax.squeeze", PERMUTE)


_BOUND = (relax.Call, relax.TupleGetItem, relax.Tuple)


@dataclass(frozen=True)
class MoveCodes:
    """See the module."""

    name: str = "move-codes"

    def run(self, module: Any, ctx: PassContext) -> Any:
        """Rewrite ``main``."""
        rebuilder = Rebuilder(module)
        made: dict[Any, Any] = {}

        def emit(value: Any) -> Any:
            var = rebuilder.emit(value)
            made[var] = value
            return var

        def sink(call: Any, shape: tuple[int, ...]) -> Any:
            """A move of dequantized codes as dequantized moved codes."""
            source: Any = made.get(call.args[0])
            axis = _axis_after(call, source) if shape and source is not None else None
            if axis is None:
                return emit(call)
            codes, scale, zero = source.args
            if is_constant(codes):
                moved = tensor_constant(_moved(call, constant_array(codes), shape))
            else:
                moved = emit(_with_source(call, codes))
            return emit(relax.op.dequantize(moved, scale, zero, axis, source.attrs.out_dtype))

        def hoist(call: Any) -> Any:
            """A quantized move as a move of codes."""
            source: Any = made.get(call.args[0])
            scalars = all(constant_size(argument) == 1 for argument in call.args[1:])
            if op_name(source) not in MOVES or not scalars or not shape_of(source.args[0]):
                return emit(call)
            parameters = (*call.args[1:], -1, call.attrs.out_dtype)
            codes = hoist(relax.op.quantize(source.args[0], *parameters))
            return emit(_with_source(source, codes))

        def visit(_: Any, expr: Any) -> Any:
            new = rebuilder.renamed(expr)
            if op_name(new) in MOVES:
                return sink(new, shape_of(expr))
            if op_name(new) == "relax.quantize":
                return hoist(new)
            return emit(new) if isinstance(new, _BOUND) else new

        return rebuilder.run(visit, rebuilder.renamed, lambda var: var)


def constant_size(expr: Any) -> int | None:
    """Elements of a constant; None for what is not known at build time."""
    return int(constant_array(expr).size) if is_constant(expr) else None


def _axis_after(call: Any, source: Any) -> int | None:
    """Where the channels of the ``relax.dequantize`` ``source`` are after a move, if anywhere."""
    if op_name(source) != "relax.dequantize":
        return None
    sizes = [constant_size(argument) for argument in source.args[1:]]
    if sizes == [1, 1]:
        return -1
    if None in sizes or op_name(call) != PERMUTE:
        return None
    axes = _axes(call)
    return axes.index(int(source.attrs.axis) % len(axes))


def _axes(call: Any) -> list[int]:
    rank = len(shape_of(call.args[0]))
    axes = call.attrs.axes
    return [i % rank for i in integers(axes)] if axes is not None else list(range(rank))[::-1]


def _moved(call: Any, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return array.transpose(_axes(call)) if op_name(call) == PERMUTE else array.reshape(shape)


def _with_source(call: Any, source: Any) -> Any:
    return relax.Call(call.op, [source, *call.args[1:]], call.attrs, call.ty_args)
