"""Zeros around the image that a convolution reads become its own padding.

    conv(quantize(pad(x))) = conv with more padding of x

where x has the codes that its padded form has: a zero is the zero point then, and adds nothing to a
sum, as the padding of a convolution does. Frameworks write strides of 2 like that, and without this
every such image is copied.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tvm import relax

from footprint_compiler.passes.qdq_graph import QdqGraph, Quantized
from footprint_compiler.passes.rebuild import integers, op_name


def unpadded(
    graph: QdqGraph, expr: Any, x: Quantized, padding: list[int]
) -> tuple[Quantized, list[int]]:
    """What an operator may read in place of ``x``, and the padding that it needs then.

    Args:
        expr: the float tensor (N, H, W, C) that the operator reads; ``x`` are its codes.
        padding: top, left, bottom, right.
    """
    quantizer, axes = graph.definition(graph.definition(expr).args[0]), [0, 1, 2, 3]
    if op_name(quantizer) == "relax.permute_dims" and quantizer.attrs.axes is not None:
        axes = integers(quantizer.attrs.axes)
        quantizer = graph.definition(quantizer.args[0])
    if op_name(quantizer) != "relax.quantize":
        return x, padding
    pad = graph.definition(quantizer.args[0])
    if op_name(pad) != "relax.nn.pad" or not pads_with_zero(pad):
        return x, padding
    inner, widths = graph.activation(pad.args[0]), integers(pad.attrs.pad_width)
    if inner is None or not _same_codes(inner, x) or len(widths) != 8 or min(widths) < 0:
        return x, padding
    batch, (top, bottom), (left, right), channels = (widths[2 * i : 2 * i + 2] for i in axes)
    if any((*batch, *channels)):
        return x, padding
    codes = inner.expr
    if axes != [0, 1, 2, 3]:
        codes = graph.rebuilder.emit(relax.op.permute_dims(codes, axes))
    more = zip(padding, (top, left, bottom, right), strict=True)
    return replace(x, expr=codes), [one + other for one, other in more]


def pads_with_zero(pad: Any) -> bool:
    """Whether what a ``relax.nn.pad`` adds is the number zero."""
    return str(pad.attrs.pad_mode) == "constant" and float(pad.attrs.pad_value) == 0.0


def _same_codes(a: Quantized, b: Quantized) -> bool:
    """Whether two tensors of one scale write the same numbers alike."""
    scales, zeros = float(a.scale[0]) == float(b.scale[0]), int(a.zero_point[0])
    types = str(a.expr.ty.dtype), str(b.expr.ty.dtype)
    return scales and zeros == int(b.zero_point[0]) and types[0] == types[1]
