"""Col2Im and DeformConv: sums over windows at other places than those of Conv."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import te, tirx

from footprint_compiler.frontend.context import Context, Node, Refusal, Table
from footprint_compiler.frontend.converters.basic import reshape, widened
from footprint_compiler.frontend.converters.convolution import add_bias
from footprint_compiler.frontend.value import Value


def _col2im(ctx: Context, node: Node) -> Value:
    """Each output element sums the columns whose window covers it."""
    x = node.input(0)
    image = node.ints("image_shape", 1) or []
    kernel = node.ints("block_shape", 2) or []
    spatial = len(image)
    strides = [int(v) for v in node.attrs.get("strides", [1] * spatial)]
    dilations = [int(v) for v in node.attrs.get("dilations", [1] * spatial)]
    pads = [int(v) for v in node.attrs.get("pads", [0] * (2 * spatial))]
    blocks = [
        (image[n] + pads[n] + pads[n + spatial] - (kernel[n] - 1) * dilations[n] - 1) // strides[n]
        + 1
        for n in range(spatial)
    ]
    area = int(np.prod(kernel))
    channels = x.shape[1] // area
    if x.shape[1] != channels * area or x.shape[2] != int(np.prod(blocks)):
        raise Refusal(f"columns {x.shape} do not fit the image", "check image_shape")
    columns = reshape(ctx, x, (x.shape[0], channels, *kernel, *blocks))

    def rule(a: Any) -> Any:
        taps = [te.reduce_axis((0, k), f"k{n}") for n, k in enumerate(kernel)]

        def element(b: Any, c: Any, *i: Any) -> Any:
            conditions, places = [], []
            for n in range(spatial):
                shifted = i[n] + pads[n] - taps[n] * dilations[n]
                block = tirx.floordiv(shifted, strides[n])
                conditions += [
                    tirx.floormod(shifted, strides[n]) == 0, block >= 0, block < blocks[n]
                ]  # fmt: skip
                places.append(block)
            value = a(b, c, *taps, *places)
            return te.sum(
                tirx.if_then_else(tirx.all(*conditions), value, tirx.const(0, x.dtype)), axis=taps
            )

        return te.compute((x.shape[0], channels, *image), element, name="col2im")

    return ctx.te(rule, columns, name="col2im")


def _deform_conv(ctx: Context, node: Node) -> Value:
    """Convolution whose taps are moved by an offset; bilinear, zero outside the image."""
    x, w, offset = node.input(0), node.input(1), node.input(2)
    bias, mask = node.optional(3), node.optional(4)
    if x.rank != 4:
        raise Refusal(f"{x.rank - 2} spatial axes", "use two spatial axes")
    kernel = list(w.shape[2:])
    strides = [int(v) for v in node.attrs.get("strides", [1, 1])]
    dilations = [int(v) for v in node.attrs.get("dilations", [1, 1])]
    pads = [int(v) for v in node.attrs.get("pads", [0, 0, 0, 0])]
    groups = int(node.attrs.get("group", 1))
    offset_groups = int(node.attrs.get("offset_group", 1))
    n, channels, height, width = x.shape
    out_h, out_w = offset.shape[2:]
    per_group, per_offset = channels // groups, channels // offset_groups
    out_per_group = w.shape[0] // groups
    area = kernel[0] * kernel[1]

    def zero() -> Any:
        return tirx.const(0, x.dtype)

    def rule(a: Any, weight: Any, moved: Any, *rest: Any) -> Any:
        c = te.reduce_axis((0, per_group), "c")
        p = te.reduce_axis((0, kernel[0]), "p")
        q = te.reduce_axis((0, kernel[1]), "q")

        def pixel(b: Any, channel: Any, y: Any, z: Any) -> Any:
            inside = tirx.all(y >= 0, y < height, z >= 0, z < width)
            return tirx.if_then_else(inside, a(b, channel, y, z), zero())

        def element(b: Any, o: Any, i: Any, j: Any) -> Any:
            channel = tirx.floordiv(o, out_per_group) * per_group + c
            group = tirx.floordiv(channel, per_offset)
            tap = p * kernel[1] + q
            place = (group * area + tap) * 2
            y = tirx.Cast(x.dtype, i * strides[0] - pads[0] + p * dilations[0])
            z = tirx.Cast(x.dtype, j * strides[1] - pads[1] + q * dilations[1])
            y, z = y + moved(b, place, i, j), z + moved(b, place + 1, i, j)
            top, left = te.floor(y), te.floor(z)
            down, right = y - top, z - left
            row, column = tirx.Cast("int64", top), tirx.Cast("int64", left)
            one = tirx.const(1, x.dtype)
            value = (
                pixel(b, channel, row, column) * (one - down) * (one - right)
                + pixel(b, channel, row, column + 1) * (one - down) * right
                + pixel(b, channel, row + 1, column) * down * (one - right)
                + pixel(b, channel, row + 1, column + 1) * down * right
            )
            if rest:
                value = value * rest[0](b, group * area + tap, i, j)
            return te.sum(value * weight(o, c, p, q), axis=[c, p, q])

        return te.compute((n, w.shape[0], out_h, out_w), element, name="deform_conv")

    inputs = [x, w, offset] + ([mask] if mask is not None else [])
    return add_bias(ctx, ctx.te(rule, *inputs, name="deform_conv"), bias)


CONVERTERS: Table = {"Col2Im": widened(_col2im), "DeformConv": widened(_deform_conv)}
