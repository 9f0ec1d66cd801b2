"""The operators that have a kernel generator of their own, as tensor expressions with a tag.

Legalization leaves each as one TIR block that carries ``fpc.kind`` and its attributes. Fusion then
works on ordinary TIR; the lowering pass finds the tag and emits the specialised kernel. The block
itself is a complete definition of the operator, without padding copies, so that it can also be
compiled as it stands.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import te, tirx

from footprint_compiler.kernels.leaky_relu import legalize_leaky_relu
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.kernels.softmax import softmax_legalization
from footprint_compiler.kernels.stored_weights import Stored, stored_attributes
from footprint_compiler.kernels.widen import wide_dtype, widen

TAG = "fpc.kind"


def _ints(values: Any) -> list[int]:
    return [int(value) for value in values]


def _inside(value: Any, low: Any, high: Any) -> Any:
    return te.all(value >= low, value < high)


def _padding(values: list[int]) -> list[int]:
    """(top, left, bottom, right) from Relax's one, two or four values."""
    if len(values) == 1:
        return values * 4
    return values * 2 if len(values) == 2 else values


def conv2d_nhwc(
    x: Any,
    w: Any,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    zero_point: int = 0,
    accumulator: str = "int32",
    stored: Stored | None = None,
) -> Any:
    """x (N, H, W, C), w (O, C/groups, KH, KW) -> (N, OH, OW, O); integers sum in ``accumulator``.

    ``zero_point`` is subtracted from every element of an integer ``x``; padding is zero after that.
    ``stored`` says in which form the weights lie in flash, if not in their own.
    """
    batch, height, width, _ = _ints(x.shape)
    out_channels, group_in, kernel_height, kernel_width = _ints(w.shape)
    top, left, bottom, right = padding
    out_height = (height + top + bottom - (kernel_height - 1) * dilation[0] - 1) // stride[0] + 1
    out_width = (width + left + right - (kernel_width - 1) * dilation[1] - 1) // stride[1] + 1
    group_out = out_channels // groups
    c = te.reduce_axis((0, group_in), name="c")
    i = te.reduce_axis((0, kernel_height), name="i")
    j = te.reduce_axis((0, kernel_width), name="j")

    def element(n: Any, h: Any, w_: Any, o: Any) -> Any:
        row = h * stride[0] + i * dilation[0] - top
        column = w_ * stride[1] + j * dilation[1] - left
        channel = (o // group_out) * group_in + c
        value = widen(x[n, row, column, channel], x.dtype, zero_point, accumulator)
        if any(padding):
            inside = te.all(_inside(row, 0, height), _inside(column, 0, width))
            value = tirx.if_then_else(
                inside, value, tirx.const(0, wide_dtype(x.dtype, accumulator))
            )
        return te.sum(value * widen(w[o, c, i, j], w.dtype, 0, accumulator), axis=[i, j, c])

    return te.compute(
        (batch, out_height, out_width, out_channels),
        element,
        name="conv2d",
        attrs={
            TAG: "conv2d",
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
            "zero_point": zero_point,
            **stored_attributes(stored),
        },
    )


def matmul(
    a: Any,
    b: Any,
    zero_point: int = 0,
    second_zero_point: int = 0,
    accumulator: str = "int32",
    stored: Stored | None = None,
) -> Any:
    """a (..., M, K) x b (..., K, N), batch axes broadcast; vectors as in NumPy.

    Zero points of ``a`` and ``b``, where they are quantized, are subtracted from their elements.
    """
    a_shape, b_shape = _ints(a.shape), _ints(b.shape)
    a_vector, b_vector = len(a_shape) == 1, len(b_shape) == 1
    a_batch = [] if a_vector else a_shape[:-2]
    b_batch = [] if b_vector else b_shape[:-2]
    rank = max(len(a_batch), len(b_batch))
    batch = [
        max(
            a_batch[axis - rank + len(a_batch)] if axis >= rank - len(a_batch) else 1,
            b_batch[axis - rank + len(b_batch)] if axis >= rank - len(b_batch) else 1,
        )
        for axis in range(rank)
    ]
    depth = te.reduce_axis((0, a_shape[-1]), name="k")

    def pick(indices: tuple[Any, ...], own: list[int]) -> list[Any]:
        tail = indices[rank - len(own) : rank]
        return [0 if size == 1 else at for size, at in zip(own, tail, strict=True)]

    def element(*indices: Any) -> Any:
        rest = list(indices[rank:])
        a_index = pick(indices, a_batch) + ([] if a_vector else [rest.pop(0)]) + [depth]
        b_index = [*pick(indices, b_batch), depth] + ([] if b_vector else [rest.pop(0)])
        left = widen(a[tuple(a_index)], a.dtype, zero_point, accumulator)
        right = widen(b[tuple(b_index)], b.dtype, second_zero_point, accumulator)
        return te.sum(left * right, axis=[depth])

    shape = batch + ([] if a_vector else [a_shape[-2]]) + ([] if b_vector else [b_shape[-1]])
    attrs = {
        TAG: "matmul",
        "zero_point": zero_point,
        "second_zero_point": second_zero_point,
        **stored_attributes(stored),
    }
    return te.compute(tuple(shape), element, name="matmul", attrs=attrs)


def max_pool2d_nhwc(
    x: Any,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    out: list[int],
) -> Any:
    """x (N, H, W, C) -> (N, OH, OW, C); padding never wins."""
    _, height, width, _ = _ints(x.shape)
    i = te.reduce_axis((0, kernel[0]), name="i")
    j = te.reduce_axis((0, kernel[1]), name="j")

    def element(n: Any, h: Any, w: Any, c: Any) -> Any:
        row = h * stride[0] + i * dilation[0] - padding[0]
        column = w * stride[1] + j * dilation[1] - padding[1]
        inside = te.all(_inside(row, 0, height), _inside(column, 0, width))
        value = tirx.if_then_else(inside, x[n, row, column, c], tirx.min_value(x.dtype))
        return te.max(value, axis=[i, j])

    attrs = {
        TAG: "max_pool2d",
        "kernel": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
    }
    return te.compute(tuple(out), element, name="max_pool2d", attrs=attrs)


def sum_pool2d_nhwc(
    x: Any,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    out: list[int],
    zero_point: int = 0,
    accumulator: str = "int32",
) -> Any:
    """Sum over the window; the division of an average pool is a separate stage that fuses."""
    _, height, width, _ = _ints(x.shape)
    i = te.reduce_axis((0, kernel[0]), name="i")
    j = te.reduce_axis((0, kernel[1]), name="j")

    def element(n: Any, h: Any, w: Any, c: Any) -> Any:
        row = h * stride[0] + i - padding[0]
        column = w * stride[1] + j - padding[1]
        inside = te.all(_inside(row, 0, height), _inside(column, 0, width))
        value = widen(x[n, row, column, c], x.dtype, zero_point, accumulator)
        value = tirx.if_then_else(inside, value, tirx.const(0, wide_dtype(x.dtype, accumulator)))
        return te.sum(value, axis=[i, j])

    attrs = {
        TAG: "sum_pool2d",
        "zero_point": zero_point,
        "kernel": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": [1, 1],
    }
    return te.compute(tuple(out), element, name="sum_pool2d", attrs=attrs)


def avg_pool2d_nhwc(
    x: Any,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    out: list[int],
    include_pad: bool,
) -> Any:
    """x (N, H, W, C) -> (N, OH, OW, C); the divisor counts padding only when asked."""
    _, height, width, _ = _ints(x.shape)
    total = sum_pool2d_nhwc(x, kernel, stride, padding, out)

    def along(axis: int, size: int, at: Any) -> Any:
        begin = at * stride[axis] - padding[axis]
        if include_pad:
            high = tirx.min(begin + kernel[axis], size + padding[axis + 2])
            return high - begin
        return tirx.min(begin + kernel[axis], size) - tirx.max(begin, 0)

    def element(n: Any, h: Any, w: Any, c: Any) -> Any:
        overlap = any(padding) or any(
            (out[axis + 1] - 1) * stride[axis] + kernel[axis] > size
            for axis, size in enumerate((height, width))
        )
        if not overlap:
            return total[n, h, w, c] * tirx.const(1.0 / (kernel[0] * kernel[1]), x.dtype)
        count = along(0, height, h) * along(1, width, w)
        return total[n, h, w, c] / tirx.max(count, 1).astype(x.dtype)

    return te.compute(tuple(out), element, name="average")


def conv2d_transpose_nhwc(
    x: Any,
    w: Any,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    out: list[int],
    zero_point: int = 0,
    accumulator: str = "int32",
) -> Any:
    """x (N, H, W, C), w (C, O/groups, KH, KW) -> (N, OH, OW, O) of shape ``out``."""
    _, height, width, channels = _ints(x.shape)
    _, group_out, kernel_height, kernel_width = _ints(w.shape)
    group_in = channels // groups
    c = te.reduce_axis((0, group_in), name="c")
    i = te.reduce_axis((0, kernel_height), name="i")
    j = te.reduce_axis((0, kernel_width), name="j")

    def element(n: Any, h: Any, w_: Any, o: Any) -> Any:
        row = h + padding[0] - i * dilation[0]
        column = w_ + padding[1] - j * dilation[1]
        channel = (o // group_out) * group_in + c
        value = x[n, row // stride[0], column // stride[1], channel]
        value = widen(value, x.dtype, zero_point, accumulator)
        inside = te.all(
            _inside(row, 0, height * stride[0]),
            _inside(column, 0, width * stride[1]),
            row % stride[0] == 0,
            column % stride[1] == 0,
        )
        value = tirx.if_then_else(inside, value, tirx.const(0, wide_dtype(x.dtype, accumulator)))
        weight = widen(w[channel, o % group_out, i, j], w.dtype, 0, accumulator)
        return te.sum(value * weight, axis=[i, j, c])

    attrs = {
        TAG: "conv2d_transpose",
        "zero_point": zero_point,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
    }
    return te.compute(tuple(out), element, name="conv2d_transpose", attrs=attrs)


def _shape(expr: Any) -> list[int]:
    return _ints(expr.ty.shape)


def _legalize_conv2d(bb: Any, call: Any) -> Any:
    attrs = call.attrs
    if attrs.data_layout != "NHWC" or attrs.kernel_layout != "OIHW" or attrs.out_layout != "NHWC":
        return None
    return bb.call_te(
        conv2d_nhwc,
        call.args[0],
        call.args[1],
        _ints(attrs.strides),
        _padding(_ints(attrs.padding)),
        _ints(attrs.dilation),
        int(attrs.groups),
        primfunc_name_hint="conv2d",
        primfunc_attrs={"op_pattern": 4},
    )


def _legalize_conv2d_transpose(bb: Any, call: Any) -> Any:
    attrs = call.attrs
    if attrs.data_layout != "NHWC" or attrs.kernel_layout != "IOHW" or attrs.out_layout != "NHWC":
        return None
    return bb.call_te(
        conv2d_transpose_nhwc,
        call.args[0],
        call.args[1],
        _ints(attrs.strides),
        _padding(_ints(attrs.padding)),
        _ints(attrs.dilation),
        int(attrs.groups),
        _shape(call),
        primfunc_name_hint="conv2d_transpose",
        primfunc_attrs={"op_pattern": 4},
    )


def _legalize_matmul(bb: Any, call: Any) -> Any:
    if any(len(_shape(arg)) == 0 for arg in call.args):
        return None
    return bb.call_te(
        matmul, *call.args, primfunc_name_hint="matmul", primfunc_attrs={"op_pattern": 4}
    )


def _legalize_max_pool2d(bb: Any, call: Any) -> Any:
    attrs = call.attrs
    if attrs.layout != "NHWC":
        return None
    return bb.call_te(
        max_pool2d_nhwc,
        call.args[0],
        _ints(attrs.pool_size),
        _ints(attrs.strides),
        _padding(_ints(attrs.padding)),
        _ints(attrs.dilation),
        _shape(call),
        primfunc_name_hint="max_pool2d",
        primfunc_attrs={"op_pattern": 4},
    )


def _legalize_avg_pool2d(bb: Any, call: Any) -> Any:
    attrs = call.attrs
    if attrs.layout != "NHWC" or _ints(attrs.dilation) != [1, 1]:
        return None
    return bb.call_te(
        avg_pool2d_nhwc,
        call.args[0],
        _ints(attrs.pool_size),
        _ints(attrs.strides),
        _padding(_ints(attrs.padding)),
        _shape(call),
        bool(attrs.count_include_pad),
        primfunc_name_hint="avg_pool2d",
        primfunc_attrs={"op_pattern": 4},
    )


_SPECIAL = {
    "relax.nn.leakyrelu": legalize_leaky_relu,
    "relax.nn.conv2d_transpose": _legalize_conv2d_transpose,
    "relax.nn.conv2d": _legalize_conv2d,
    "relax.matmul": _legalize_matmul,
    "relax.nn.max_pool2d": _legalize_max_pool2d,
    "relax.nn.avg_pool2d": _legalize_avg_pool2d,
}


def legalize_map(machine: Machine) -> dict[str, Any]:
    """Operator name -> legalization; what an anchor cannot express goes to TVM's own rule."""
    special = {
        **_SPECIAL,
        "relax.nn.softmax": softmax_legalization(machine, log=False),
        "relax.nn.log_softmax": softmax_legalization(machine, log=True),
    }

    def guarded(name: str, special: Any) -> Any:
        default = tvm.ir.Op.get(name).get_attr("FLegalize")

        def legalize(bb: Any, call: Any) -> Any:
            result = special(bb, call)
            return default(bb, call) if result is None else result

        return legalize

    return {name: guarded(name, rule) for name, rule in special.items()}
