"""Shape changes: Reshape, Transpose, Squeeze, Concat, Slice and relatives."""

from __future__ import annotations

import numpy as np
from tvm import relax

from footprint_compiler.frontend.context import Context, Node, Refusal, Table, normalize_axis
from footprint_compiler.frontend.converters.basic import element_type, reshape, transpose
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


def _unsqueeze(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    axes = node.ints("axes", 1) or []
    rank = x.rank + len(axes)
    new = {normalize_axis(a, rank) for a in axes}
    dims = iter(x.shape)
    return reshape(ctx, x, [1 if i in new else next(dims) for i in range(rank)])


def _size(ctx: Context, node: Node) -> Value:
    return constant(node.input(0).size, "int64")


def _eye_like(ctx: Context, node: Node) -> Value:
    """Only the shape of the input matters."""
    x = node.input(0)
    dtype = element_type(int(node.attrs["dtype"])) if "dtype" in node.attrs else x.dtype
    rows, columns = x.shape
    return constant(np.eye(rows, columns, int(node.attrs.get("k", 0)), dtype=dtype))


def _depth_to_space(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    block = int(node.attrs["blocksize"])
    n, c, h, w = x.shape
    deep = c // (block * block)
    if node.attrs.get("mode", "DCR") == "DCR":
        split, order = (n, block, block, deep, h, w), (0, 3, 4, 1, 5, 2)
    else:
        split, order = (n, deep, block, block, h, w), (0, 1, 4, 2, 5, 3)
    return reshape(
        ctx, transpose(ctx, reshape(ctx, x, split), order), (n, deep, h * block, w * block)
    )


def _space_to_depth(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    block = int(node.attrs["blocksize"])
    n, c, h, w = x.shape
    split = reshape(ctx, x, (n, c, h // block, block, w // block, block))
    order = (0, 3, 5, 1, 2, 4) if node.attrs.get("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    return reshape(ctx, transpose(ctx, split, order), (n, c * block**2, h // block, w // block))


def _dropout(ctx: Context, node: Node) -> tuple[Value | None, ...]:
    """The identity; the mask is all true. Training mode is random, hence refused."""
    x = node.input(0)
    training = node.array(2) if node.opset >= 12 else None
    ratio = node.array(1) if node.opset >= 12 else None
    if training is not None and bool(training) and (ratio is None or float(ratio) != 0.0):
        raise Refusal("training mode draws random numbers", "export the model for inference")
    kind = "bool" if node.opset >= 10 else x.dtype
    return x, constant(np.ones(x.shape, kind))


CONVERTERS: Table = {
    "DepthToSpace": _depth_to_space,
    "Dropout": _dropout,
    "EyeLike": _eye_like,
    "Size": _size,
    "SpaceToDepth": _space_to_depth,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Shape": _shape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
}
