"""Shape changes: Reshape, Transpose, Squeeze, Concat, Slice and relatives."""

from __future__ import annotations

import numpy as np
from tvm import relax

from footprint_compiler.frontend.context import Context, Node, Refusal, normalize_axis
from footprint_compiler.frontend.converters.basic import reshape, transpose
from footprint_compiler.frontend.value import Value, constant

op = relax.op


def _reshape(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    wanted = node.ints("shape", 1) or []
    if not node.attrs.get("allowzero", 0):
        wanted = [x.shape[i] if d == 0 and i < x.rank else d for i, d in enumerate(wanted)]
    if -1 in wanted:
        rest = int(np.prod([d for d in wanted if d != -1], dtype=np.int64))
        wanted[wanted.index(-1)] = x.size // rest if rest else 0
    if int(np.prod(wanted, dtype=np.int64)) != x.size or min(wanted, default=0) < 0:
        raise Refusal(f"cannot reshape {x.shape} to {tuple(wanted)}", "check the bound shapes")
    return reshape(ctx, x, wanted)


def _transpose(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    return transpose(ctx, x, node.attrs.get("perm") or range(x.rank)[::-1])


def _shape(ctx: Context, node: Node) -> Value:
    shape = list(node.input(0).shape)
    return constant(shape[node.attrs.get("start", 0) : node.attrs.get("end")], "int64")


def _flatten(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    axis = node.attrs.get("axis", 1)
    axis = axis + x.rank if axis < 0 else axis
    rows = int(np.prod(x.shape[:axis], dtype=np.int64))
    return reshape(ctx, x, (rows, int(np.prod(x.shape[axis:], dtype=np.int64))))


def _squeeze(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    axes = node.ints("axes", 1)
    gone = (
        {i for i, d in enumerate(x.shape) if d == 1}
        if axes is None
        else {normalize_axis(a, x.rank) for a in axes}
    )
    if any(x.shape[i] != 1 for i in gone):
        raise Refusal(f"axes {sorted(gone)} of {x.shape} are not all 1", "check the bound shapes")
    return reshape(ctx, x, [d for i, d in enumerate(x.shape) if i not in gone])


CONVERTERS = {
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Shape": _shape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
}
