"""MatMulInteger and ConvInteger: exact products in int32."""

from __future__ import annotations

from dataclasses import replace

from tvm import relax

from footprint_compiler.frontend.context import Context, Node, Table
from footprint_compiler.frontend.converters.basic import cast, reshape
from footprint_compiler.frontend.converters.convolution import convolution
from footprint_compiler.frontend.value import Value

op = relax.op


def _centred(ctx: Context, x: Value, zero: Value | None, axis: int) -> Value:
    """``x - zero_point`` in int32; a zero point of rank 1 lies along ``axis``."""
    wide = cast(ctx, x, "int32")
    if zero is None or (zero.array is not None and not zero.array.any()):
        return wide
    if zero.rank == 1 and zero.size > 1:
        place = axis % x.rank
        zero = reshape(ctx, zero, [zero.size if i == place else 1 for i in range(x.rank)])
    elif zero.size == 1:
        zero = reshape(ctx, zero, ())
    return ctx.op(op.subtract, wide, cast(ctx, zero, "int32"))


def _matmul(ctx: Context, node: Node) -> Value:
    a = _centred(ctx, node.input(0), node.optional(2), -2)
    b = _centred(ctx, node.input(1), node.optional(3), -1)
    return ctx.op(op.matmul, a, b)


def _conv(ctx: Context, node: Node) -> Value:
    x = _centred(ctx, node.input(0), node.optional(2), 1)
    w = _centred(ctx, node.input(1), node.optional(3), 0)
    return convolution(ctx, replace(node, inputs=(x, w)))


CONVERTERS: Table = {"MatMulInteger": _matmul, "ConvInteger": _conv}
