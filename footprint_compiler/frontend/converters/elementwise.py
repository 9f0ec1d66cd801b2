"""Elementwise arithmetic, comparison, logic and casts.

Functions that are computed in float32 for float16 inputs are wrapped by ``widened``: the result is
rounded once, as the reference does it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from tvm import relax, te, tirx, topi

from footprint_compiler.frontend.context import Context, Node, Refusal, Table
from footprint_compiler.frontend.converters.basic import cast, element_type, scalar, widened
from footprint_compiler.frontend.value import Value

op = relax.op
_EXACT_TEXT = "cast to int64 or float64 explicitly"


def _binary(function: Callable[..., Any], ctx: Context, node: Node) -> Value:
    return ctx.op(function, node.input(0), node.input(1))


def _equal(ctx: Context, node: Node) -> Value:
    """Relax compares booleans as floats, which LLVM rejects: they are compared as bits."""
    x, y = node.input(0), node.input(1)
    if x.dtype == "bool":
        return ctx.op(op.logical_not, ctx.op(op.logical_xor, x, y))
    return ctx.op(op.equal, x, y)


def _unary(function: Callable[..., Any], ctx: Context, node: Node) -> Value:
    return ctx.op(function, node.input(0))


def _variadic(function: Callable[..., Any], ctx: Context, node: Node) -> Value:
    result = node.input(0)
    for index in range(1, len(node.inputs)):
        result = ctx.op(function, result, node.input(index))
    return result


def _mean(ctx: Context, node: Node) -> Value:
    total = _variadic(op.add, ctx, node)
    return ctx.op(op.divide, total, scalar(len(node.inputs), total.dtype))


def _cast(ctx: Context, node: Node) -> Value:
    return cast(ctx, node.input(0), element_type(int(node.attrs["to"])))


def _cast_like(ctx: Context, node: Node) -> Value:
    return cast(ctx, node.input(0), node.input(1).dtype)


def _identity(ctx: Context, node: Node) -> Value:
    return node.input(0)


def _pow(ctx: Context, node: Node) -> Value:
    x, y = node.input(0), node.input(1)
    if y.array is not None and y.size == 1 and y.array.item() == 2 and y.rank <= x.rank:
        return ctx.op(op.multiply, x, x)
    wide = "float32" if x.dtype in ("float16", "float32") else "float64"
    if y.dtype == "float64" or y.dtype in ("int64", "uint64", "int32", "uint32"):
        wide = "float64" if x.dtype != "float32" or y.array is None else wide
    power = ctx.op(op.power, cast(ctx, x, wide), cast(ctx, y, wide))
    return cast(ctx, power, x.dtype)


def _mod(ctx: Context, node: Node) -> Value:
    """With ``fmod`` the sign of the result is that of x, otherwise that of y, as in Python."""
    x, y = node.input(0), node.input(1)
    fmod = bool(node.attrs.get("fmod", 0))
    if not x.is_float:
        return ctx.op(op.mod if fmod else op.floor_mod, x, y)
    shape = np.broadcast_shapes(x.shape, y.shape)
    name = "fmod" if x.dtype == "float64" else "fmodf"
    zero = tirx.const(0, x.dtype)

    def rule(a: Any, b: Any) -> Any:
        a, b = topi.broadcast_to(a, shape), topi.broadcast_to(b, shape)

        def element(*i: Any) -> Any:
            p, q = a(*i), b(*i)
            rest = tirx.call_pure_extern(x.dtype, name, p, q)
            if fmod:
                return rest
            other = tirx.any(tirx.all(rest < zero, q > zero), tirx.all(rest > zero, q < zero))
            signed = tirx.Select(other, rest + q, rest)
            # a rest of zero takes the sign of y
            none = tirx.Select(q < zero, tirx.const(-0.0, x.dtype), zero)
            return tirx.Select(rest == zero, none, signed)

        return te.compute(shape, element, name="mod")

    return ctx.te(rule, x, y, name="mod")


def _is_inf(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    positive = bool(node.attrs.get("detect_positive", 1))
    negative = bool(node.attrs.get("detect_negative", 1))
    inf = scalar(np.inf, x.dtype)
    above = ctx.op(op.equal, x, inf)
    below = ctx.op(op.equal, x, scalar(-np.inf, x.dtype))
    if positive and negative:
        return ctx.op(op.logical_or, above, below)
    if positive or negative:
        return above if positive else below
    return ctx.op(op.logical_and, above, below)


def _is_nan(ctx: Context, node: Node) -> Value:
    return ctx.op(op.isnan, node.input(0))


def _shift(ctx: Context, node: Node) -> Value:
    """Shifts outside [0, width) move every bit out; a negative number leaves its sign."""
    x, y = node.input(0), node.input(1)
    left = node.attrs["direction"] == "LEFT"
    width = np.dtype(x.dtype).itemsize * 8
    inside = ctx.op(op.less, y, scalar(width, y.dtype))
    if not y.dtype.startswith("uint"):
        above = ctx.op(op.greater_equal, y, scalar(0, y.dtype))
        inside = ctx.op(op.logical_and, inside, above)
    amount = ctx.op(op.where, inside, y, scalar(0, y.dtype))
    shifted = ctx.op(op.left_shift if left else op.right_shift, x, amount)
    gone = scalar(0, x.dtype)
    if not left and not x.dtype.startswith("uint"):
        gone = ctx.op(op.right_shift, x, scalar(width - 1, x.dtype))
    return ctx.op(op.where, inside, shifted, gone)


def _reciprocal(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    return ctx.op(op.divide, scalar(1, x.dtype), x)


def _where(ctx: Context, node: Node) -> Value:
    return ctx.op(op.where, node.input(0), node.input(1), node.input(2))


def _xor(ctx: Context, node: Node) -> Value:
    return ctx.op(op.logical_xor, node.input(0), node.input(1))


def _sign(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    zero = tirx.const(0, x.dtype)
    one = tirx.const(1, x.dtype)

    def rule(a: Any) -> Any:
        def element(*i: Any) -> Any:
            below = zero if x.dtype.startswith("uint") else tirx.const(-1, x.dtype)
            return tirx.Select(a(*i) > zero, one, tirx.Select(a(*i) < zero, below, zero))

        return te.compute(a.shape, element, name="sign")

    return ctx.te(rule, x, name="sign")


def _libm(name: str, ctx: Context, node: Node) -> Value:
    """A function that TVM does not lower for every target: the one of the C library."""
    x = node.input(0)
    symbol = name if x.dtype == "float64" else f"{name}f"

    def rule(a: Any) -> Any:
        return te.compute(
            a.shape, lambda *i: tirx.call_pure_extern(x.dtype, symbol, a(*i)), name=name
        )

    return ctx.te(rule, x, name=name)


def _bitcast(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    dtype = element_type(int(node.attrs["to"]))

    def rule(a: Any) -> Any:
        return te.compute(a.shape, lambda *i: tirx.reinterpret(dtype, a(*i)), name="bitcast")

    if "bool" in (x.dtype, dtype) or np.dtype(dtype).itemsize != np.dtype(x.dtype).itemsize:
        raise Refusal(f"bits of {x.dtype} as {dtype} are not supported", _EXACT_TEXT)
    return ctx.te(rule, x, name="bitcast")


_MATH = {
    "Sqrt": op.sqrt, "Exp": op.exp, "Log": op.log, "Sin": op.sin, "Cos": op.cos,
    "Asin": op.asin, "Acos": op.acos, "Atan": op.atan,
    "Asinh": op.asinh, "Acosh": op.acosh, "Atanh": op.atanh, "Erf": op.erf,
    "Ceil": op.ceil, "Floor": op.floor, "Round": op.round,
}  # fmt: skip
_ARITHMETIC = {
    "Add": op.add, "Sub": op.subtract, "Mul": op.multiply, "Div": op.divide,
    "Less": op.less, "LessOrEqual": op.less_equal,
    "Greater": op.greater, "GreaterOrEqual": op.greater_equal,
    "And": op.logical_and, "Or": op.logical_or,
    "BitwiseAnd": op.bitwise_and, "BitwiseOr": op.bitwise_or, "BitwiseXor": op.bitwise_xor,
}  # fmt: skip

CONVERTERS: Table = {
    **{name: widened(partial(_unary, function)) for name, function in _MATH.items()},
    **{name: partial(_binary, function) for name, function in _ARITHMETIC.items()},
    "Abs": partial(_unary, op.abs),
    "Neg": partial(_unary, op.negative),
    "Not": partial(_unary, op.logical_not),
    "BitwiseNot": partial(_unary, op.bitwise_not),
    "BitShift": _shift,
    "BitCast": _bitcast,
    "Cast": _cast,
    "CastLike": _cast_like,
    "Cosh": widened(partial(_libm, "cosh")),
    "Equal": _equal,
    "Identity": _identity,
    "IsInf": _is_inf,
    "IsNaN": _is_nan,
    "Max": partial(_variadic, op.maximum),
    "Mean": _mean,
    "Min": partial(_variadic, op.minimum),
    "Mod": widened(_mod),
    "Pow": _pow,
    "Reciprocal": _reciprocal,
    "Sign": _sign,
    "Sinh": widened(partial(_libm, "sinh")),
    "Sum": partial(_variadic, op.add),
    "Tan": widened(partial(_libm, "tan")),
    "Where": _where,
    "Xor": _xor,
}
