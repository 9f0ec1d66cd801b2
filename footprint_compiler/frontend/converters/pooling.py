"""Pooling over one, two or three spatial axes."""

from __future__ import annotations

from functools import partial
from typing import Any

from tvm import relax

from footprint_compiler.frontend.context import Context, Node, Refusal
from footprint_compiler.frontend.converters.window import window_of
from footprint_compiler.frontend.value import Value

op = relax.op
_MAX = {1: op.nn.max_pool1d, 2: op.nn.max_pool2d, 3: op.nn.max_pool3d}
_AVERAGE = {1: op.nn.avg_pool1d, 2: op.nn.avg_pool2d, 3: op.nn.avg_pool3d}
_LAYOUT = {1: "NCW", 2: "NCHW", 3: "NCDHW"}


def _pool(table: dict[int, Any], ctx: Context, node: Node) -> Value:
    x = node.input(0)
    window = window_of(node, x.shape[2:], node.attrs["kernel_shape"])
    if len(window.kernel) not in table:
        raise Refusal(f"{len(window.kernel)} spatial axes", "use one, two or three")
    attrs: dict[str, Any] = {
        "pool_size": list(window.kernel),
        "strides": list(window.strides),
        "padding": window.padding,
        "dilation": list(window.dilations),
        "ceil_mode": False,
        "layout": _LAYOUT[len(window.kernel)],
    }
    if table is _AVERAGE:
        attrs["count_include_pad"] = bool(node.attrs.get("count_include_pad", 0))
    return ctx.op(table[len(window.kernel)], x, **attrs)


def _global_average(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    return ctx.op(op.mean, x, axis=list(range(2, x.rank)), keepdims=True)


CONVERTERS = {
    "MaxPool": partial(_pool, _MAX),
    "AveragePool": partial(_pool, _AVERAGE),
    "GlobalAveragePool": _global_average,
}
