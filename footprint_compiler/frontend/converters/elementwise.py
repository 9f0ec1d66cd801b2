"""Elementwise arithmetic, comparison, logic, and Cast."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from footprint_compiler.frontend.context import Context, Node, Refusal
from footprint_compiler.frontend.converters.basic import cast
from footprint_compiler.frontend.value import Value

op = relax.op


def _binary(function: Callable[..., Any], ctx: Context, node: Node) -> Value:
    return ctx.op(function, node.input(0), node.input(1))


def _unary(function: Callable[..., Any], ctx: Context, node: Node) -> Value:
    return ctx.op(function, node.input(0))


def _variadic(function: Callable[..., Any], ctx: Context, node: Node) -> Value:
    result = node.input(0)
    for index in range(1, len(node.inputs)):
        result = ctx.op(function, result, node.input(index))
    return result


def _cast(ctx: Context, node: Node) -> Value:
    return cast(ctx, node.input(0), _dtype(int(node.attrs["to"])))


def _dtype(kind: int) -> str:
    import onnx

    try:
        return str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind)))
    except (KeyError, TypeError) as error:
        raise Refusal(f"element type {kind} is not supported", "use a supported type") from error


def _identity(ctx: Context, node: Node) -> Value:
    return node.input(0)


def _pow(ctx: Context, node: Node) -> Value:
    x, y = node.input(0), node.input(1)
    if y.array is not None and y.size == 1 and x.is_float and float(y.array.reshape(())) == 2.0:
        return ctx.op(op.multiply, x, x)
    return ctx.op(op.power, x, cast(ctx, y, x.dtype))


CONVERTERS = {
    "Add": partial(_binary, op.add),
    "Sub": partial(_binary, op.subtract),
    "Mul": partial(_binary, op.multiply),
    "Div": partial(_binary, op.divide),
    "Pow": _pow,
    "Sqrt": partial(_unary, op.sqrt),
    "Exp": partial(_unary, op.exp),
    "Log": partial(_unary, op.log),
    "Cast": _cast,
    "Identity": _identity,
    "Max": partial(_variadic, op.maximum),
    "Min": partial(_variadic, op.minimum),
}
_ = te, tirx
