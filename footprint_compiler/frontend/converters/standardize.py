"""Normalizations that subtract a mean and divide by a standard deviation.

ONNX defines most of them by mean(x x) - mean(x)^2, which loses every digit where the mean is large
beside the deviation. Here the variance is the mean of the squared deviations.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from tvm import relax

from footprint_compiler.frontend.context import Context, Node, Refusal, Table, normalize_axis
from footprint_compiler.frontend.converters.basic import cast, reshape, scalar, widened
from footprint_compiler.frontend.value import Value

op = relax.op
_OFFSET_OF_DEVIATION = 1e-9
"""What MeanVarianceNormalization adds to the deviation, by its definition."""


class _Moments(NamedTuple):
    mean: Value
    centred: Value
    variance: Value


def _moments(ctx: Context, x: Value, axes: Sequence[int]) -> _Moments:
    mean = ctx.op(op.mean, x, axis=list(axes), keepdims=True)
    centred = ctx.op(op.subtract, x, mean)
    squares = ctx.op(op.multiply, centred, centred)
    return _Moments(mean, centred, ctx.op(op.mean, squares, axis=list(axes), keepdims=True))


def _deviation(ctx: Context, variance: Value, epsilon: float) -> Value:
    return ctx.op(op.sqrt, ctx.op(op.add, variance, scalar(epsilon, variance.dtype)))


def _epsilon(node: Node) -> float:
    return float(node.attrs.get("epsilon", 1e-5))


def _instance_norm(ctx: Context, node: Node) -> Value:
    x, scale, bias = node.input(0), node.input(1), node.input(2)
    found = _moments(ctx, x, range(2, x.rank))
    along = (1, x.shape[1], *[1] * (x.rank - 2))
    deviation = _deviation(ctx, found.variance, _epsilon(node))
    factor = ctx.op(op.divide, reshape(ctx, scale, along), deviation)
    y = ctx.op(op.multiply, found.centred, factor)
    return ctx.op(op.add, y, reshape(ctx, bias, along))


def _layer_norm(ctx: Context, node: Node) -> tuple[Value | None, ...]:
    """Y in the type of X; mean and inverse deviation in float32 unless X is wider."""
    x = node.input(0)
    scale, bias = node.input(1), node.optional(2)
    narrow = x.dtype if x.dtype in ("float16", "bfloat16") else None
    if narrow is not None:
        x, scale = cast(ctx, x, "float32"), cast(ctx, scale, "float32")
        bias = None if bias is None else cast(ctx, bias, "float32")
    axis = normalize_axis(int(node.attrs.get("axis", -1)), x.rank)
    rows = prod(x.shape[:axis])
    along = (1, prod(x.shape[axis:]))
    found = _moments(ctx, reshape(ctx, x, (rows, along[1])), (1,))
    deviation = _deviation(ctx, found.variance, _epsilon(node))
    y = ctx.op(op.divide, found.centred, deviation)
    y = ctx.op(op.multiply, y, reshape(ctx, scale, along))
    y = y if bias is None else ctx.op(op.add, y, reshape(ctx, bias, along))
    y = reshape(ctx, y, x.shape)
    y = y if narrow is None else cast(ctx, y, narrow)
    if not any(node.outputs[1:]):
        return (y,)
    one_per_row = (*x.shape[:axis], *[1] * (x.rank - axis))
    inverse = ctx.op(op.divide, scalar(1.0, x.dtype), deviation)
    return y, reshape(ctx, found.mean, one_per_row), reshape(ctx, inverse, one_per_row)


def _group_norm(ctx: Context, node: Node) -> Value:
    """Scale and bias are per channel, or per group before opset 21."""
    x, scale, bias = node.input(0), node.input(1), node.input(2)
    groups = int(node.attrs["num_groups"])
    if groups < 1 or x.shape[1] % groups:
        raise Refusal("num_groups does not divide the channels", "check with onnx.checker")
    each = x.shape[1] // groups
    inner = x.size // max(1, x.shape[0] * x.shape[1])
    found = _moments(ctx, reshape(ctx, x, (x.shape[0], groups, each, inner)), (2, 3))
    deviation = _deviation(ctx, found.variance, _epsilon(node))
    along = (1, groups, 1 if node.opset < 21 else each, 1)
    y = ctx.op(op.divide, found.centred, deviation)
    y = ctx.op(op.multiply, y, reshape(ctx, scale, along))
    return reshape(ctx, ctx.op(op.add, y, reshape(ctx, bias, along)), x.shape)


def _mean_variance_normalization(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    axes = [normalize_axis(int(a), x.rank) for a in node.attrs.get("axes", [0, 2, 3])]
    found = _moments(ctx, x, axes)
    deviation = ctx.op(op.sqrt, found.variance)
    offset = scalar(_OFFSET_OF_DEVIATION, x.dtype)
    return ctx.op(op.divide, found.centred, ctx.op(op.add, deviation, offset))


CONVERTERS: Table = {
    "GroupNormalization": widened(_group_norm),
    "InstanceNormalization": widened(_instance_norm),
    "LayerNormalization": _layer_norm,
    "MeanVarianceNormalization": widened(_mean_variance_normalization),
}
