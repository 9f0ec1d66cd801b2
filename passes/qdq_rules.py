"""Integer forms of operators between DequantizeLinear and QuantizeLinear.

A rule is ``rule(graph, producer, target) -> call | None``: ``producer`` is the float operator whose
result (after clamps) is quantized into ``target``. None means that the operator stays in float.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from tvm import relax

from footprint_compiler.kernels.quantized import (
    quantized_add,
    quantized_average,
    quantized_conv2d,
    quantized_matmul,
    quantized_multiply,
)
from footprint_compiler.passes.qdq_graph import (
    QdqGraph,
    Quantized,
    Target,
    call_te,
    integers_constant,
    same_scale,
)
from footprint_compiler.passes.rebuild import (
    constant_array,
    integers,
    is_constant,
    op_name,
    shape_of,
    tensor_constant,
)
from footprint_compiler.quant.fixed_point import fixed_point

Rule = Callable[[QdqGraph, Any, Target], Any]


def linear(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """A convolution or matrix product, with or without the addition of its bias."""
    bias = None
    if op_name(producer) == "relax.add":
        left, right = producer.args
        for value, other in ((left, right), (right, left)):
            if op_name(graph.definition(value)) in _LINEAR and _real(graph, other) is not None:
                producer, bias = graph.definition(value), _real(graph, other)
                break
        else:
            return None
    x = graph.activation(producer.args[0])
    w = graph.quantized(producer.args[1])
    if x is None or w is None or w.array is None or str(w.array.dtype) != "int8":
        return None
    if np.any(w.zero_point != 0):
        return None
    return _LINEAR[op_name(producer)](graph, producer, target, x, w, bias)


def _real(graph: QdqGraph, expr: Any) -> np.ndarray | None:
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
    inner = _real(graph, producer.args[0])
    if inner is None:
        return None
    if op_name(producer) == "relax.permute_dims":
        axes = producer.attrs.axes
        return inner.transpose(integers(axes) if axes is not None else None)
    return inner.reshape(shape_of(producer))


def _channel_constants(
    x: Quantized, w: Quantized, bias: np.ndarray | None, channels: int, target: Target
) -> tuple[Any, Any, int] | None:
    """(bias, mantissa, left) as constants, or None where they do not fit."""
    scale = float(x.scale[0]) * np.broadcast_to(w.scale, (channels,))
    if np.any(scale <= 0):
        return None
    real = np.zeros(channels) if bias is None else np.asarray(bias)
    if real.size not in (1, channels):
        return None
    codes = np.rint(np.broadcast_to(real.ravel(), (channels,)) / scale)
    try:
        multiplier = fixed_point(scale / target.scale)
        mantissa = np.broadcast_to(np.asarray(multiplier.mantissa), (channels,))
        return integers_constant(codes), integers_constant(mantissa), multiplier.left
    except (ValueError, OverflowError):
        return None


def _conv2d(
    graph: QdqGraph, call: Any, target: Target, x: Quantized, w: Quantized, bias: Any
) -> Any:
    attrs = call.attrs
    if attrs.data_layout != "NHWC" or attrs.kernel_layout != "OIHW":
        return None
    assert w.array is not None
    if not w.per_tensor and w.axis % 4 != 0:
        return None
    channels = w.array.shape[0]
    if bias is not None and bias.size not in (1, channels):
        return None
    constants = _channel_constants(x, w, bias, channels, target)
    if constants is None or not _fits(w.array.reshape(channels, -1), x, constants[2]):
        return None
    pads = integers(attrs.padding)
    padding = pads * 4 if len(pads) == 1 else pads * 2 if len(pads) == 2 else pads
    return call_te(
        graph,
        quantized_conv2d,
        x.expr,
        tensor_constant(w.array),
        constants[0],
        constants[1],
        integers(attrs.strides),
        padding,
        integers(attrs.dilation),
        int(attrs.groups),
        int(x.zero_point[0]),
        constants[2],
        target.output,
        pattern=4,
        name="conv2d_int8",
    )


def _matmul(
    graph: QdqGraph, call: Any, target: Target, x: Quantized, w: Quantized, bias: Any
) -> Any:
    assert w.array is not None
    if w.array.ndim != 2 or (not w.per_tensor and w.axis % 2 != 1):
        return None
    if len(shape_of(call.args[0])) < 2:
        return None
    channels = w.array.shape[1]
    constants = _channel_constants(x, w, bias, channels, target)
    if constants is None or not _fits(w.array.T, x, constants[2]):
        return None
    return call_te(
        graph,
        quantized_matmul,
        x.expr,
        tensor_constant(w.array),
        constants[0],
        constants[1],
        int(x.zero_point[0]),
        constants[2],
        target.output,
        pattern=4,
        name="matmul_int8",
    )


def _fits(rows: np.ndarray, x: Quantized, left: int) -> bool:
    """Whether no accumulator can leave int32, whatever the input."""
    low, high = (-128, 127) if str(x.expr.ty.dtype) == "int8" else (0, 255)
    largest = max(high - int(x.zero_point[0]), int(x.zero_point[0]) - low)
    worst = np.abs(rows.astype("int64")).sum(axis=1).max(initial=0) * largest
    return bool((int(worst) << left) < 2**30)


_LINEAR: dict[str, Any] = {"relax.nn.conv2d": _conv2d, "relax.matmul": _matmul}


def add(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """A bias joins its linear operator; two activations are added with a common shift."""
    joined = linear(graph, producer, target)
    if joined is not None:
        return joined
    a, b = (graph.activation(argument) for argument in producer.args)
    if a is None or b is None:
        return None
    ratios = (float(a.scale[0]) / target.scale, float(b.scale[0]) / target.scale)
    if not all(0 < ratio < 2**10 for ratio in ratios):
        return None
    shift = min(24, 19 - int(np.ceil(np.log2(max(ratios)))))
    if shift < 1:
        return None
    factors = tuple(int(np.rint(ratio * 2**shift)) for ratio in ratios)
    zeros = (int(a.zero_point[0]), int(b.zero_point[0]))
    return call_te(
        graph,
        quantized_add,
        a.expr,
        b.expr,
        zeros,
        factors,
        shift,
        target.output,
        pattern=0 if shape_of(a.expr) == shape_of(b.expr) else 1,
        name="add_int8",
    )


def multiply(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """The product of two activations."""
    a, b = (graph.activation(argument) for argument in producer.args)
    if a is None or b is None:
        return None
    try:
        multiplier = fixed_point(float(a.scale[0]) * float(b.scale[0]) / target.scale)
    except ValueError:
        return None
    if multiplier.left > 12:
        return None
    return call_te(
        graph,
        quantized_multiply,
        a.expr,
        b.expr,
        (int(a.zero_point[0]), int(b.zero_point[0])),
        multiplier.mantissa[0],
        multiplier.left,
        target.output,
        pattern=0 if shape_of(a.expr) == shape_of(b.expr) else 1,
        name="multiply_int8",
    )


def average_pool(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """An average over windows without padding."""
    attrs = producer.attrs
    x = graph.activation(producer.args[0])
    if x is None or attrs.layout != "NHWC" or any(integers(attrs.padding)):
        return None
    if integers(attrs.dilation) != [1, 1]:
        return None
    kernel, stride = integers(attrs.pool_size), integers(attrs.strides)
    out, source = list(shape_of(producer)), shape_of(producer.args[0])
    if any((out[i + 1] - 1) * stride[i] + kernel[i] > source[i + 1] for i in range(2)):
        return None
    count = prod(kernel)
    try:
        multiplier = fixed_point(float(x.scale[0]) / (target.scale * count))
    except ValueError:
        return None
    if multiplier.left or count > 2**22:
        return None
    return call_te(
        graph,
        quantized_average,
        x.expr,
        kernel,
        stride,
        [0, 0, 0, 0],
        out,
        int(x.zero_point[0]),
        multiplier.mantissa[0],
        multiplier.left,
        target.output,
        pattern=4,
        name="average_int8",
    )


def move(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """Operators that move or select elements run on the codes, where these mean the same."""
    x = graph.activation(producer.args[0])
    if x is None or not same_scale(x, target) or not _unclamped(target):
        return None
    if op_name(producer) == "relax.nn.pad":
        zero = float(target.output.zero_point)
        if str(producer.attrs.pad_mode) != "constant" or float(producer.attrs.pad_value) != 0.0:
            return None
        return relax.op.nn.pad(x.expr, integers(producer.attrs.pad_width), "constant", zero)
    rest = [graph.rebuilder.renamed(argument) for argument in producer.args[1:]]
    return relax.Call(producer.op, [x.expr, *rest], producer.attrs, producer.ty_args)


def concat(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """Parts that all have the output's scale."""
    if not isinstance(producer.args[0], relax.Tuple) or not _unclamped(target):
        return None
    parts = [graph.activation(item) for item in producer.args[0].fields]
    if any(part is None or not same_scale(part, target) for part in parts):
        return None
    return relax.op.concat([part.expr for part in parts if part], int(producer.attrs.axis))


def _unclamped(target: Target) -> bool:
    full = (-128, 127) if target.output.dtype == "int8" else (0, 255)
    return (target.output.low, target.output.high) == full


RULES: dict[str, Rule] = {
    "relax.nn.conv2d": linear,
    "relax.matmul": linear,
    "relax.add": add,
    "relax.multiply": multiply,
    "relax.nn.avg_pool2d": average_pool,
    "relax.nn.max_pool2d": move,
    "relax.reshape": move,
    "relax.permute_dims": move,
    "relax.strided_slice": move,
    "relax.nn.pad": move,
    "relax.concat": concat,
}
