"""The linear rules of ``lower-qdq``: convolution and matrix product with constant weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from footprint_compiler.kernels.quantized import (
    Scaling,
    quantized_conv2d,
    quantized_conv2d_transpose,
    quantized_matmul,
)
from footprint_compiler.kernels.stored_weights import stored_form
from footprint_compiler.passes.qdq_graph import (
    QdqGraph,
    Quantized,
    Target,
    call_te,
    integers_constant,
)
from footprint_compiler.passes.qdq_narrow_sums import Channels, narrowed
from footprint_compiler.passes.qdq_padding import unpadded
from footprint_compiler.passes.qdq_scale import Requantization, requantization, sum_bound
from footprint_compiler.passes.rebuild import (
    constant_array,
    integers,
    is_constant,
    op_name,
    shape_of,
    tensor_constant,
)

BIAS_ERROR = 1 / 16
"""Steps of the output that rounding a bias to the accumulator's scale may cost at most."""


def linear(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """A convolution or matrix product, with or without the addition of its bias."""
    bias = None
    if op_name(producer) == "relax.add":
        left, right = producer.args
        for value, other in ((left, right), (right, left)):
            bias = _bias(graph, other, shape_of(value))
            if op_name(graph.definition(value)) in _LINEAR and bias is not None:
                producer = graph.definition(value)
                break
        else:
            return None
    x = graph.activation(producer.args[0])
    w = _centred(graph.quantized(producer.args[1]))
    if x is None:
        return graph.decline("its input is not one quantized tensor")
    if w is None:
        return graph.decline("its weights are not quantized constants of 8 or 4 bits")
    return _LINEAR[op_name(producer)](graph, producer, target, x, w, bias)


def _centred(w: Quantized | None) -> Quantized | None:
    """Constant 8-bit weights with zero point 0: int8, or int16 where a difference needs nine bits.

    Weights of full range around a zero point far from the middle are the only ones that do.
    """
    if w is None or w.array is None or not w.array.size:
        return None
    if str(w.array.dtype) not in ("int8", "uint8"):
        return None
    shape = [1] * w.array.ndim
    if w.zero_point.size > 1:
        shape[w.axis % w.array.ndim] = -1
    codes = w.array.astype("int64") - w.zero_point.reshape(shape)
    narrow = codes.min() >= -128 and codes.max() <= 127
    array = codes.astype("int8" if narrow else "int16")
    return replace(w, array=array, zero_point=np.zeros(1, "int64"))


def _bias(graph: QdqGraph, expr: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    """One real number for each channel (the last axis of ``shape``), or None.

    A constant that differs along another axis, or that makes the result larger, is no bias.
    """
    real = real_constant(graph, expr)
    if real is None or real.ndim > len(shape) or real.size not in (1, shape[-1]):
        return None
    if real.size > 1 and real.shape[-1] != shape[-1]:
        return None
    result: np.ndarray = np.broadcast_to(real.ravel(), shape[-1:])
    return result


def real_constant(graph: QdqGraph, expr: Any) -> np.ndarray | None:
    """The value of a constant bias, as a real number in float64."""
    found = graph.quantized(expr)
    if found is not None and found.array is not None:
        shape = [1] * found.array.ndim
        if not found.per_tensor:
            shape[found.axis % found.array.ndim] = -1
        centred = found.array.astype("float64") - found.zero_point.reshape(shape)
        result: np.ndarray = centred * found.scale.reshape(shape)
        return result
    producer = graph.definition(expr)
    if is_constant(producer):
        return constant_array(producer).astype("float64")
    if op_name(producer) not in ("relax.reshape", "relax.expand_dims", "relax.permute_dims"):
        return None
    inner = real_constant(graph, producer.args[0])
    if inner is None:
        return None
    if op_name(producer) == "relax.permute_dims":
        axes = producer.attrs.axes
        return inner.transpose(integers(axes) if axes is not None else None)
    return inner.reshape(shape_of(producer))


@dataclass(frozen=True)
class _Constants:
    """What a linear kernel reads besides its input.

    Attributes:
        used: channels whose weights count; those of the others shall be zeros.
    """

    bias: Any
    mantissa: Any
    scaling: Scaling
    used: np.ndarray


def _channel_constants(
    graph: QdqGraph,
    x: Quantized,
    w: Quantized,
    rows: np.ndarray,
    bias: np.ndarray | None,
    target: Target,
) -> _Constants | None:
    """The constants of every channel, or None where they do not fit.

    Args:
        rows: weights (channels, taps).
        bias: real numbers (channels,), or None.
    """
    scale = float(x.scale[0]) * np.broadcast_to(w.scale, (len(rows),))
    real = np.zeros(len(rows)) if bias is None else bias
    codes = np.rint(real / scale)
    lost = np.abs(codes * scale - real) / target.scale
    if lost.max() > BIAS_ERROR:
        graph.decline("the scale of its sums is too coarse for its bias")
        return None
    channels, form = _smallest(rows, Channels.plain(codes, scale / target.scale), x, target)
    if form is None:
        graph.decline("its sums or its multiplier do not fit")
        return None
    mantissa = np.broadcast_to(np.asarray(form.multiplier.mantissa), codes.shape)
    return _Constants(
        integers_constant(channels.bias, form.scaling.accumulator),
        integers_constant(mantissa),
        form.scaling,
        channels.used,
    )


def _smallest(
    rows: np.ndarray, channels: Channels, x: Quantized, target: Target
) -> tuple[Channels, Requantization | None]:
    """The layer with int32 sums where it can have them, and the form of its multipliers."""
    form = requantization(channels.multiplier, sum_bound(rows, channels.bias, x))
    if form is not None and form.scaling.accumulator == "int32":
        return channels, form
    smaller = narrowed(rows, channels, x, target.output)
    if smaller is not None:
        bound = sum_bound(rows * smaller.used[:, None], smaller.bias, x)
        found = requantization(smaller.multiplier, bound)
        if found is not None and found.scaling.accumulator == "int32":
            return smaller, found
    return channels, form


def _conv2d(
    graph: QdqGraph, call: Any, target: Target, x: Quantized, w: Quantized, bias: Any
) -> Any:
    attrs = call.attrs
    if attrs.data_layout != "NHWC" or attrs.kernel_layout != "OIHW":
        return graph.decline("its layout has no integer kernel")
    assert w.array is not None
    if not w.per_tensor and w.axis % 4 != 0:
        return graph.decline("its weights have scales along another axis")
    rows = w.array.reshape(w.array.shape[0], -1)
    constants = _channel_constants(graph, x, w, rows, bias, target)
    if constants is None:
        return None
    array = w.array * constants.used[:, None, None, None]
    x, padding = unpadded(graph, call.args[0], x, _four(integers(attrs.padding)))
    return call_te(
        graph,
        quantized_conv2d,
        x.expr,
        tensor_constant(array),
        constants.bias,
        constants.mantissa,
        integers(attrs.strides),
        padding,
        integers(attrs.dilation),
        int(attrs.groups),
        int(x.zero_point[0]),
        constants.scaling,
        target.output,
        stored_form(array),
        pattern=4,
        name="conv2d_int8",
    )


def _four(pads: list[int]) -> list[int]:
    """(top, left, bottom, right) from one, two or four values."""
    return pads * 4 if len(pads) == 1 else pads * 2 if len(pads) == 2 else pads


def _conv2d_transpose(
    graph: QdqGraph, call: Any, target: Target, x: Quantized, w: Quantized, bias: Any
) -> Any:
    attrs, groups = call.attrs, int(call.attrs.groups)
    if attrs.data_layout != "NHWC" or attrs.kernel_layout != "IOHW":
        return graph.decline("its layout has no integer kernel")
    assert w.array is not None
    if not w.per_tensor and w.axis % 4 != 1:
        return graph.decline("its weights have scales along another axis")
    channels, group_out = w.array.shape[:2]
    split = w.array.reshape(groups, channels // groups, group_out, -1).transpose(0, 2, 1, 3)
    repeated = w if w.per_tensor else replace(w, scale=np.tile(w.scale, groups))
    rows = split.reshape(groups * group_out, -1)
    constants = _channel_constants(graph, x, repeated, rows, bias, target)
    if constants is None:
        return None
    used = constants.used.reshape(groups, group_out).repeat(channels // groups, axis=0)
    return call_te(
        graph,
        quantized_conv2d_transpose,
        x.expr,
        tensor_constant(w.array * used[:, :, None, None]),
        constants.bias,
        constants.mantissa,
        integers(attrs.strides),
        _four(integers(attrs.padding)),
        integers(attrs.dilation),
        groups,
        list(shape_of(call)),
        int(x.zero_point[0]),
        constants.scaling,
        target.output,
        pattern=4,
        name="conv2d_transpose_int8",
    )


def _matmul(
    graph: QdqGraph, call: Any, target: Target, x: Quantized, w: Quantized, bias: Any
) -> Any:
    assert w.array is not None
    if w.array.ndim != 2 or len(shape_of(call.args[0])) < 2:
        return graph.decline("its weights are not a matrix, or its input is a vector")
    if not w.per_tensor and w.axis % 2 != 1:
        return graph.decline("its weights have scales along the sum")
    constants = _channel_constants(graph, x, w, w.array.T, bias, target)
    if constants is None:
        return None
    array = w.array * constants.used
    return call_te(
        graph,
        quantized_matmul,
        x.expr,
        tensor_constant(array),
        constants.bias,
        constants.mantissa,
        int(x.zero_point[0]),
        constants.scaling,
        target.output,
        stored_form(array),
        pattern=4,
        name="matmul_int8",
    )


_LINEAR: dict[str, Any] = {
    "relax.nn.conv2d": _conv2d,
    "relax.nn.conv2d_transpose": _conv2d_transpose,
    "relax.matmul": _matmul,
}
