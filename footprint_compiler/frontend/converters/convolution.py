"""Conv and ConvTranspose over one, two or three spatial axes."""

from __future__ import annotations

from tvm import relax

from footprint_compiler.frontend.context import Context, Node, Refusal, Table
from footprint_compiler.frontend.converters.basic import reshape, widened
from footprint_compiler.frontend.converters.slicing import pad
from footprint_compiler.frontend.converters.window import window_of
from footprint_compiler.frontend.value import Value

op = relax.op
_LAYOUTS = {1: ("NCW", "OIW"), 2: ("NCHW", "OIHW"), 3: ("NCDHW", "OIDHW")}
_CONV = {1: op.nn.conv1d, 2: op.nn.conv2d, 3: op.nn.conv3d}
_TRANSPOSED = {
    1: op.nn.conv1d_transpose,
    2: op.nn.conv2d_transpose,
    3: op.nn.conv3d_transpose,
}


def add_bias(ctx: Context, y: Value, bias: Value | None) -> Value:
    """``y`` of layout NC... plus one number per channel."""
    if bias is None:
        return y
    return ctx.op(op.add, y, reshape(ctx, bias, (1, bias.size, *[1] * (y.rank - 2))))


def convolution(ctx: Context, node: Node) -> Value:
    """Conv in the dtype of its inputs."""
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


def _conv_transpose(ctx: Context, node: Node) -> Value:
    """Padding follows from output_shape or auto_pad where those are given; negative padding, which
    they may ask for, becomes output padding."""
    x, w = node.input(0), node.input(1)
    spatial = x.rank - 2
    if spatial not in _TRANSPOSED:
        raise Refusal(f"{spatial} spatial axes", "use one, two or three")
    ones = [1] * spatial
    strides = [int(v) for v in node.attrs.get("strides", ones)]
    dilations = [int(v) for v in node.attrs.get("dilations", ones)]
    extra = [int(v) for v in node.attrs.get("output_padding", [0] * spatial)]
    span = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilations, strict=True)]
    full = [
        s * (n - 1) + e + k for s, n, e, k in zip(strides, x.shape[2:], extra, span, strict=True)
    ]
    auto = str(node.attrs.get("auto_pad", "NOTSET")) or "NOTSET"
    pads = [int(p) for p in node.attrs.get("pads", [0] * (2 * spatial))]
    begin, end = pads[:spatial], pads[spatial:]
    wanted = [int(v) for v in node.attrs.get("output_shape", [])][-spatial:]
    if not wanted and auto.startswith("SAME"):
        wanted = [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
    if wanted:
        for i, (size, target) in enumerate(zip(full, wanted, strict=True)):
            total = size - target
            if total < 0 and auto.startswith("SAME"):
                raise Refusal(
                    "auto_pad with a kernel smaller than its stride has two readings", "give pads"
                )
            if total < 0:
                extra[i], total = extra[i] - total, 0
            half = total // 2
            begin[i], end[i] = (
                (half, total - half) if auto == "SAME_UPPER" else (total - half, half)
            )
    elif auto == "VALID":
        begin, end = [0] * spatial, [0] * spatial
    grow = [max(0, e - s + 1) for e, s in zip(extra, strides, strict=True)]
    layout = _LAYOUTS[spatial]
    y = ctx.op(
        _TRANSPOSED[spatial],
        x,
        w,
        strides=strides,
        padding=[*begin, *end],
        output_padding=[e - g for e, g in zip(extra, grow, strict=True)],
        dilation=dilations,
        groups=int(node.attrs.get("group", 1)),
        data_layout=layout[0],
        kernel_layout=layout[1].replace("OI", "IO"),
    )
    if any(grow):  # output beyond the reach of the kernel is zero
        none = [0] * y.rank
        y = pad(ctx, y, none, [0, 0, *grow], "constant", 0.0)
    return add_bias(ctx, y, node.optional(2))


CONVERTERS: Table = {"Conv": widened(convolution), "ConvTranspose": widened(_conv_transpose)}
