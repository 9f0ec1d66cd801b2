"""Conv and ConvTranspose over one, two or three spatial axes."""

from __future__ import annotations

from tvm import relax

from footprint_compiler.frontend.context import Context, Node, Refusal
from footprint_compiler.frontend.converters.basic import reshape
from footprint_compiler.frontend.converters.window import window_of
from footprint_compiler.frontend.value import Value

op = relax.op
_LAYOUTS = {1: ("NCW", "OIW"), 2: ("NCHW", "OIHW"), 3: ("NCDHW", "OIDHW")}
_CONV = {1: op.nn.conv1d, 2: op.nn.conv2d, 3: op.nn.conv3d}


def add_bias(ctx: Context, y: Value, bias: Value | None) -> Value:
    """``y`` of layout NC... plus one number per channel."""
    if bias is None:
        return y
    return ctx.op(op.add, y, reshape(ctx, bias, (1, bias.size, *[1] * (y.rank - 2))))


def _conv(ctx: Context, node: Node) -> Value:
    x, w = node.input(0), node.input(1)
    spatial = x.rank - 2
    if spatial not in _CONV:
        raise Refusal(f"{spatial} spatial axes", "use one, two or three")
    window = window_of(node, x.shape[2:], w.shape[2:])
    data_layout, kernel_layout = _LAYOUTS[spatial]
    y = ctx.op(
        _CONV[spatial],
        x,
        w,
        strides=list(window.strides),
        padding=window.padding,
        dilation=list(window.dilations),
        groups=int(node.attrs.get("group", 1)),
        data_layout=data_layout,
        kernel_layout=kernel_layout,
    )
    return add_bias(ctx, y, node.optional(2))


CONVERTERS = {"Conv": _conv}
