"""Matrix products."""

from __future__ import annotations

import numpy as np
from tvm import relax

from footprint_compiler.frontend.context import Context, Node, Table
from footprint_compiler.frontend.converters.basic import scalar, transpose, widened
from footprint_compiler.frontend.value import Value, constant

op = relax.op


def _matmul(ctx: Context, node: Node) -> Value:
    return ctx.op(op.matmul, node.input(0), node.input(1))


def _gemm(ctx: Context, node: Node) -> Value:
    a, b, c = node.input(0), node.input(1), node.optional(2)
    if node.attrs.get("transA", 0):
        a = transpose(ctx, a, (1, 0))
    if node.attrs.get("transB", 0):
        b = transpose(ctx, b, (1, 0))
    alpha, beta = node.attrs.get("alpha", 1.0), node.attrs.get("beta", 1.0)
    if alpha != 1.0 and b.array is not None:
        b, alpha = constant((b.array * alpha).astype(b.dtype)), 1.0
    y = ctx.op(op.matmul, a, b)
    if alpha != 1.0:
        y = ctx.op(op.multiply, y, scalar(alpha, y.dtype))
    if c is None or beta == 0.0:
        return y
    if c.array is not None:
        c = constant((c.array * np.asarray(beta)).astype(c.dtype))
    elif beta != 1.0:
        c = ctx.op(op.multiply, c, scalar(beta, c.dtype))
    return ctx.op(op.add, y, c)


CONVERTERS: Table = {"MatMul": widened(_matmul), "Gemm": widened(_gemm)}
