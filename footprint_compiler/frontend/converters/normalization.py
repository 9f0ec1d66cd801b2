"""Batch, local response and Lp normalization.

Batch normalization becomes one multiply and one add with constants, which later folds into a
convolution. For those with a mean and a deviation see ``standardize``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax, te

from footprint_compiler.frontend.context import Context, Node, Refusal, Table, normalize_axis
from footprint_compiler.frontend.converters.basic import reshape, scalar, widened
from footprint_compiler.frontend.converters.slicing import pad
from footprint_compiler.frontend.value import Value, constant

op = relax.op


def _per_channel(ctx: Context, value: Value, rank: int) -> Value:
    return reshape(ctx, value, (1, value.size, *[1] * (rank - 2)))


def _batch_norm(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    if node.attrs.get("training_mode", 0):
        return _training(ctx, node)
    scale, bias, mean, variance = (node.input(i) for i in range(1, 5))
    epsilon = float(node.attrs.get("epsilon", 1e-5))
    if all(v.array is not None for v in (scale, bias, mean, variance)):
        wide = [np.asarray(v.array, "float64") for v in (scale, bias, mean, variance)]
        factor = wide[0] / np.sqrt(wide[3] + epsilon)
        shift = wide[1] - wide[2] * factor
        y = ctx.op(op.multiply, x, _per_channel(ctx, constant(factor, x.dtype), x.rank))
        return ctx.op(op.add, y, _per_channel(ctx, constant(shift, x.dtype), x.rank))
    return _normalize(ctx, x, mean, variance, scale, bias, epsilon)


def _normalize(
    ctx: Context, x: Value, mean: Value, variance: Value, scale: Value, bias: Value, epsilon: float
) -> Value:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, per channel."""
    deviation = ctx.op(op.sqrt, ctx.op(op.add, variance, scalar(epsilon, variance.dtype)))
    factor = ctx.op(op.divide, scale, deviation)
    shift = ctx.op(op.subtract, bias, ctx.op(op.multiply, mean, factor))
    y = ctx.op(op.multiply, x, _per_channel(ctx, factor, x.rank))
    return ctx.op(op.add, y, _per_channel(ctx, shift, x.rank))


def _training(ctx: Context, node: Node) -> Value:
    raise Refusal("training mode is not supported", "export the model for inference")


def _lrn(ctx: Context, node: Node) -> Value:
    """x / (bias + alpha / size * sum of squares over neighbouring channels) ** beta."""
    x = node.input(0)
    size = int(node.attrs["size"])
    before = (size - 1) // 2
    after = size - 1 - before

    squares = ctx.op(op.multiply, x, x)
    none = [0] * x.rank
    padded = pad(ctx, squares, [0, before, *none[2:]], [0, after, *none[2:]], "constant", 0.0)

    def rule(a: Any) -> Any:
        k = te.reduce_axis((0, size), "k")
        return te.compute(x.shape, lambda n, c, *i: te.sum(a(n, c + k, *i), axis=k), name="lrn")

    total = ctx.te(rule, padded, name="lrn")
    alpha, beta = float(node.attrs.get("alpha", 1e-4)), float(node.attrs.get("beta", 0.75))
    scaled = ctx.op(op.multiply, total, scalar(alpha / size, x.dtype))
    base = ctx.op(op.add, scaled, scalar(float(node.attrs.get("bias", 1.0)), x.dtype))
    return ctx.op(op.divide, x, ctx.op(op.power, base, scalar(beta, x.dtype)))


def _lp_normalization(ctx: Context, node: Node) -> Value:
    """x / ||x||_p along one axis; 0 where the norm is 0."""
    x = node.input(0)
    axis = [normalize_axis(int(node.attrs.get("axis", -1)), x.rank)]
    if int(node.attrs.get("p", 2)) == 1:
        norm = ctx.op(op.sum, ctx.op(op.abs, x), axis=axis, keepdims=True)
    else:
        total = ctx.op(op.sum, ctx.op(op.multiply, x, x), axis=axis, keepdims=True)
        norm = ctx.op(op.sqrt, total)
    zero = scalar(0, x.dtype)
    empty = ctx.op(op.equal, norm, zero)
    safe = ctx.op(op.where, empty, scalar(1, x.dtype), norm)
    return ctx.op(op.where, empty, zero, ctx.op(op.divide, x, safe))


CONVERTERS: Table = {
    "BatchNormalization": widened(_batch_norm),
    "LRN": widened(_lrn),
    "LpNormalization": widened(_lp_normalization),
}
