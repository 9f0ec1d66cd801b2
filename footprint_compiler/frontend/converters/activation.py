"""Activation functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from tvm import relax

from footprint_compiler.frontend.context import Context, Node, normalize_axis
from footprint_compiler.frontend.converters.basic import reshape
from footprint_compiler.frontend.value import Value

op = relax.op


def _unary(function: Callable[..., Any], ctx: Context, node: Node) -> Value:
    return ctx.op(function, node.input(0))


def _clip(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    low, high = node.optional(1), node.optional(2)
    if "min" in node.attrs or "max" in node.attrs or (low is None and high is None):
        minimum = node.attrs.get("min", -np.inf)
        maximum = node.attrs.get("max", np.inf)
        return ctx.op(op.clip, x, min=float(minimum), max=float(maximum))
    lowest = -np.inf if low is None else low.array.item()
    highest = np.inf if high is None else high.array.item()
    return ctx.op(op.clip, x, min=lowest, max=highest)


def _softmax(function: Callable[..., Any], ctx: Context, node: Node) -> Value:
    x = node.input(0)
    if node.opset >= 13:
        axis = normalize_axis(node.attrs.get("axis", -1), x.rank)
        return ctx.op(function, x, axis=axis)
    axis = normalize_axis(node.attrs.get("axis", 1), x.rank)
    if axis == x.rank - 1:
        return ctx.op(function, x, axis=axis)
    rows = int(np.prod(x.shape[:axis], dtype=np.int64))
    flat = reshape(ctx, x, (rows, x.size // max(rows, 1)))
    return reshape(ctx, ctx.op(function, flat, axis=1), x.shape)


CONVERTERS = {
    "Relu": partial(_unary, op.nn.relu),
    "Sigmoid": partial(_unary, op.sigmoid),
    "Tanh": partial(_unary, op.tanh),
    "Clip": _clip,
    "Softmax": partial(_softmax, op.nn.softmax),
    "LogSoftmax": partial(_softmax, op.nn.log_softmax),
}
