"""Activation functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from footprint_compiler.frontend.context import Context, Node, Table, normalize_axis
from footprint_compiler.frontend.converters.basic import reshape, scalar, widened
from footprint_compiler.frontend.converters.reduction import arg_reduce
from footprint_compiler.frontend.value import Value

op = relax.op


def _unary(function: Callable[..., Any], ctx: Context, node: Node) -> Value:
    return ctx.op(function, node.input(0))


def _clip(ctx: Context, node: Node) -> Value:
    """Bounds that are compile-time numbers give relax.clip; min(max(x, low), high) otherwise."""
    x = node.input(0)
    low, high = node.optional(1), node.optional(2)
    if "min" in node.attrs:
        low = scalar(node.attrs["min"], x.dtype)
    if "max" in node.attrs:
        high = scalar(node.attrs["max"], x.dtype)
    known = (low is None or low.array is not None) and (high is None or high.array is not None)
    if known and x.is_float and (low is not None or high is not None):
        least = -np.inf if low is None or low.array is None else low.array.item()
        most = np.inf if high is None or high.array is None else high.array.item()
        if least <= most:
            return ctx.op(op.clip, x, min=least, max=most)
    if low is not None:
        x = ctx.op(op.maximum, x, reshape(ctx, low, ()))
    if high is not None:
        x = ctx.op(op.minimum, x, reshape(ctx, high, ()))
    return x


def _softmax(function: Callable[..., Any], ctx: Context, node: Node) -> Value:
    x = node.input(0)
    flat = reshape(ctx, x, (1,)) if x.rank == 0 else x
    if node.opset >= 13:
        axis = normalize_axis(node.attrs.get("axis", -1), flat.rank)
    else:
        flat, axis = _legacy(ctx, flat, node)
    return reshape(ctx, ctx.op(function, flat, axis=axis), x.shape)


def _legacy(ctx: Context, x: Value, node: Node) -> tuple[Value, int]:
    """Before opset 13, all axes from ``axis`` on are one."""
    axis = normalize_axis(node.attrs.get("axis", 1), x.rank)
    if axis == x.rank - 1:
        return x, axis
    rows = int(np.prod(x.shape[:axis], dtype=np.int64))
    return reshape(ctx, x, (rows, x.size // max(rows, 1))), 1


def _hardmax(ctx: Context, node: Node) -> Value:
    """1 at the first maximum along the axis, 0 elsewhere."""
    x = node.input(0)
    if node.opset >= 13:
        flat, axis = x, normalize_axis(node.attrs.get("axis", -1), x.rank)
    else:
        flat, axis = _legacy(ctx, x, node)
    inner = Node(node.name, "ArgMax", "", (flat,), {"axis": axis}, ("",), node.opset)
    place = arg_reduce(True, ctx, inner)
    one, zero = tirx.const(1, x.dtype), tirx.const(0, x.dtype)

    def rule(p: Any) -> Any:
        def element(*i: Any) -> Any:
            best = p(*(0 if n == axis else v for n, v in enumerate(i)))
            return tirx.Select(best == tirx.Cast("int64", i[axis]), one, zero)

        return te.compute(flat.shape, element, name="hardmax")

    return reshape(ctx, ctx.te(rule, place, name="hardmax"), x.shape)


def _elementwise(
    rule: Callable[[Any, Callable[[float], Any], dict[str, float]], Any],
    ctx: Context,
    node: Node,
    **defaults: float,
) -> Value:
    """One kernel for ``rule(x, number, attributes)`` on every element."""
    x = node.input(0)
    attrs = {k: float(node.attrs.get(k, v)) for k, v in defaults.items()}

    def number(value: float) -> Any:
        return tirx.const(value, x.dtype)

    def kernel(a: Any) -> Any:
        return te.compute(a.shape, lambda *i: rule(a(*i), number, attrs), name="activation")

    return ctx.te(kernel, x, name=node.op_type.lower())


def _leaky_relu(ctx: Context, node: Node) -> Value:
    return ctx.op(op.nn.leakyrelu, node.input(0), alpha=float(node.attrs.get("alpha", 0.01)))


def _prelu(ctx: Context, node: Node) -> Value:
    x, slope = node.input(0), node.input(1)
    zero = scalar(0, x.dtype)
    scaled = ctx.op(op.multiply, x, slope)
    return ctx.op(op.where, ctx.op(op.less, x, zero), scaled, x)


def _gate(ctx: Context, x: Value, alpha: float, beta: float) -> Value:
    """max(0, min(1, alpha * x + beta)), in operators that layouts and fusion see through."""
    scaled = ctx.op(op.multiply, x, scalar(alpha, x.dtype))
    return ctx.op(op.clip, ctx.op(op.add, scaled, scalar(beta, x.dtype)), min=0.0, max=1.0)


def _hard_sigmoid(ctx: Context, node: Node) -> Value:
    alpha, beta = node.attrs.get("alpha", 0.2), node.attrs.get("beta", 0.5)
    return _gate(ctx, node.input(0), float(alpha), float(beta))


def _hard_swish(ctx: Context, node: Node) -> Value:
    return ctx.op(op.multiply, node.input(0), _gate(ctx, node.input(0), 1 / 6, 0.5))


def _elu(x: Any, c: Callable[[float], Any], a: dict[str, float]) -> Any:
    return tirx.Select(x < c(0), c(a["alpha"]) * (te.exp(te.min(x, c(0))) - c(1)), x)


def _selu(x: Any, c: Callable[[float], Any], a: dict[str, float]) -> Any:
    below = c(a["alpha"]) * (te.exp(te.min(x, c(0))) - c(1))
    return c(a["gamma"]) * tirx.Select(x > c(0), x, below)


def _softplus(x: Any, c: Callable[[float], Any], a: dict[str, float]) -> Any:
    """max(x, 0) + log(1 + u) with u = exp(-|x|); a series for small u, where 1 + u loses u."""
    u = te.exp(-te.abs(x))
    series = u * (c(1) - u * (c(0.5) - u * c(1 / 3)))
    return te.max(x, c(0)) + tirx.Select(u < c(1e-2), series, te.log(c(1) + u))


def _mish(x: Any, c: Callable[[float], Any], a: dict[str, float]) -> Any:
    """x * tanh(log(1 + u)) with u = exp(x), which is x * n / (n + 2) with n = u * (u + 2)."""
    u = te.exp(te.min(x, c(20)))
    n = u * (u + c(2))
    return x * (n / (n + c(2)))


def _softsign(x: Any, c: Callable[[float], Any], a: dict[str, float]) -> Any:
    return x / (c(1) + te.abs(x))


def _thresholded(x: Any, c: Callable[[float], Any], a: dict[str, float]) -> Any:
    return tirx.Select(x > c(a["alpha"]), x, c(0))


def _shrink(x: Any, c: Callable[[float], Any], a: dict[str, float]) -> Any:
    above = tirx.Select(x > c(a["lambd"]), x - c(a["bias"]), c(0))
    return tirx.Select(x < c(-a["lambd"]), x + c(a["bias"]), above)


def _gelu(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    exact = str(node.attrs.get("approximate", "none")) == "none"
    return ctx.op(op.nn.gelu if exact else op.nn.gelu_tanh, x)


def _swish(x: Any, c: Callable[[float], Any], a: dict[str, float]) -> Any:
    return x * te.sigmoid(c(a["alpha"]) * x)


def _relu(ctx: Context, node: Node) -> Value:
    return ctx.op(op.nn.relu, node.input(0))


CONVERTERS: Table = {
    "Clip": _clip,
    "Elu": widened(partial(_elementwise, _elu, alpha=1.0)),
    "Gelu": widened(_gelu),
    "HardSigmoid": widened(_hard_sigmoid),
    "HardSwish": widened(_hard_swish),
    "Hardmax": _hardmax,
    "LeakyRelu": widened(_leaky_relu),
    "LogSoftmax": widened(partial(_softmax, op.nn.log_softmax)),
    "Mish": widened(partial(_elementwise, _mish)),
    "PRelu": _prelu,
    "Relu": _relu,
    "Selu": widened(
        partial(_elementwise, _selu, alpha=1.6732631921768188, gamma=1.0507009873554805)
    ),
    "Shrink": partial(_elementwise, _shrink, lambd=0.5, bias=0.0),
    "Sigmoid": widened(partial(_unary, op.sigmoid)),
    "Softmax": widened(partial(_softmax, op.nn.softmax)),
    "Softplus": widened(partial(_elementwise, _softplus)),
    "Softsign": widened(partial(_elementwise, _softsign)),
    "Swish": widened(partial(_elementwise, _swish, alpha=1.0)),
    "Tanh": widened(partial(_unary, op.tanh)),
    "ThresholdedRelu": partial(_elementwise, _thresholded, alpha=1.0),
}
