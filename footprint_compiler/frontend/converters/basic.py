"""Small steps that converters share; each is computed at once when its input is a constant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from tvm import relax

from footprint_compiler.frontend.context import Context, Convert, Node, Refusal
from footprint_compiler.frontend.value import Value, constant

op = relax.op


def reshape(ctx: Context, x: Value, shape: Sequence[int]) -> Value:
    """``x`` with another shape of as many elements."""
    wanted = tuple(int(d) for d in shape)
    if wanted == x.shape:
        return x
    if x.array is not None:
        return constant(x.array.reshape(wanted))
    return ctx.emit(op.reshape(x.expr, wanted))


def transpose(ctx: Context, x: Value, axes: Sequence[int]) -> Value:
    """``x`` with its axes permuted."""
    order = [int(a) for a in axes]
    if order == list(range(x.rank)):
        return x
    if x.array is not None:
        return constant(np.transpose(x.array, order))
    return ctx.emit(op.permute_dims(x.expr, order))


def cast(ctx: Context, x: Value, dtype: str) -> Value:
    """``x`` converted to another dtype."""
    if x.dtype == dtype:
        return x
    if x.array is not None:
        with np.errstate(all="ignore"):
            return constant(x.array.astype(dtype))
    if dtype == "bool":
        return ctx.op(op.not_equal, x, constant(np.zeros((), x.dtype)))
    return ctx.emit(op.astype(x.expr, dtype))


def broadcast(ctx: Context, x: Value, shape: Sequence[int]) -> Value:
    """``x`` repeated to ``shape`` by the rules of NumPy."""
    wanted = tuple(int(d) for d in shape)
    if wanted == x.shape:
        return x
    if x.array is not None:
        return constant(np.broadcast_to(x.array, wanted))
    return ctx.emit(op.broadcast_to(x.expr, wanted))


def scalar(value: Any, dtype: str) -> Value:
    """A constant of rank 0."""
    return constant(np.asarray(value, dtype=dtype))


def element_type(kind: int) -> str:
    """NumPy name of an ONNX element type."""
    try:
        return str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind)))
    except (KeyError, TypeError) as error:
        raise Refusal(f"element type {kind} is not supported", "use a supported type") from error


def _narrow(ctx: Context, x: Value) -> Value:
    return cast(ctx, x, "float16") if x.dtype == "float32" else x


def widened(convert: Convert) -> Convert:
    """The same converter, computing float16 nodes in float32 and rounding the results once."""

    def wrapper(ctx: Context, node: Node) -> Value | tuple[Value | None, ...]:
        if not any(v is not None and v.dtype == "float16" for v in node.inputs):
            return convert(ctx, node)
        inputs = tuple(
            cast(ctx, v, "float32") if v is not None and v.dtype == "float16" else v
            for v in node.inputs
        )
        result = convert(ctx, replace(node, inputs=inputs))
        if isinstance(result, Value):
            return _narrow(ctx, result)
        return tuple(v if v is None else _narrow(ctx, v) for v in result)

    return wrapper
