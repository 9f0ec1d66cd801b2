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
    quantized_multiply,
)
from footprint_compiler.passes.qdq_graph import QdqGraph, Target, call_te, is_narrow
from footprint_compiler.passes.qdq_linear import linear
from footprint_compiler.passes.qdq_scale import largest, requantization
from footprint_compiler.passes.qdq_softmax import softmax
from footprint_compiler.passes.qdq_table import recoded
from footprint_compiler.passes.rebuild import (
    integers,
    op_name,
    shape_of,
)

Rule = Callable[[QdqGraph, Any, Target], Any]


def add(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """A bias joins its linear operator; two quantized tensors are added with a common shift."""
    joined = linear(graph, producer, target)
    return joined if joined is not None else _sum(graph, producer, target, 1)


def subtract(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """The difference of two quantized tensors."""
    return _sum(graph, producer, target, -1)


def _sum(graph: QdqGraph, producer: Any, target: Target, sign: int) -> Any:
    a, b = (graph.operand(argument) for argument in producer.args)
    if a is None or b is None:
        return None
    ratios = (float(a.scale[0]) / target.scale, float(b.scale[0]) / target.scale)
    if min(ratios) <= 0 or not np.isfinite(max(ratios)):
        return None
    exponent = int(np.ceil(np.log2(max(ratios))))
    narrow = is_narrow(a) and is_narrow(b) and exponent < 10
    shift = min(24, 19 - exponent) if narrow else min(44, 30 - exponent)
    if shift < 1:
        return None
    factors = [int(np.rint(ratio * 2.0**shift)) for ratio in ratios]
    zeros = (int(a.zero_point[0]), int(b.zero_point[0]))
    return call_te(
        graph,
        quantized_add,
        a.expr,
        b.expr,
        zeros,
        (factors[0], sign * factors[1]),
        shift,
        target.output,
        "int32" if narrow else "int64",
        pattern=0 if shape_of(a.expr) == shape_of(b.expr) else 1,
        name="add_int8" if narrow else "add_int16",
    )


def multiply(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """The product of two quantized tensors."""
    a, b = (graph.operand(argument) for argument in producer.args)
    if a is None or b is None:
        return None
    scale = float(a.scale[0]) * float(b.scale[0]) / target.scale
    form = requantization(scale, float(largest(a)) * largest(b))
    if form is None:
        return None
    return call_te(
        graph,
        quantized_multiply,
        a.expr,
        b.expr,
        (int(a.zero_point[0]), int(b.zero_point[0])),
        form.mantissa,
        form.scaling,
        target.output,
        pattern=0 if shape_of(a.expr) == shape_of(b.expr) else 1,
        name="multiply_int8",
    )


def average_pool(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """An average over windows of one size: without padding, or with padding that counts."""
    attrs = producer.attrs
    x = graph.activation(producer.args[0])
    pads = integers(attrs.padding)
    pads = pads * 4 if len(pads) == 1 else pads * 2 if len(pads) == 2 else pads
    if x is None or attrs.layout != "NHWC" or (any(pads) and not attrs.count_include_pad):
        return None
    if integers(attrs.dilation) != [1, 1]:
        return None
    kernel, stride = integers(attrs.pool_size), integers(attrs.strides)
    out, source = list(shape_of(producer)), shape_of(producer.args[0])
    sizes = [source[i + 1] + pads[i] + pads[i + 2] for i in range(2)]
    if any((out[i + 1] - 1) * stride[i] + kernel[i] > sizes[i] for i in range(2)):
        return None
    count = prod(kernel)
    form = requantization(float(x.scale[0]) / (target.scale * count), float(count) * largest(x))
    if form is None:
        return None
    return call_te(
        graph,
        quantized_average,
        x.expr,
        kernel,
        stride,
        pads,
        out,
        int(x.zero_point[0]),
        form.mantissa,
        form.scaling,
        target.output,
        pattern=4,
        name="average_int8",
    )


def mean(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """A mean over adjacent axes: the average of one window of (before, reduced, 1, after)."""
    x = graph.activation(producer.args[0])
    if x is None:
        return None
    shape = shape_of(producer.args[0])
    given = producer.attrs.axis
    axes = sorted(i % len(shape) for i in (integers(given) if given else range(len(shape))))
    first, end = axes[0], axes[-1] + 1
    if axes != list(range(first, end)):
        return None
    count = prod(shape[first:end])
    form = requantization(float(x.scale[0]) / (target.scale * count), float(count) * largest(x))
    if form is None:
        return None
    image = (prod(shape[:first]), count, 1, prod(shape[end:]))
    total = call_te(
        graph,
        quantized_average,
        graph.rebuilder.emit(relax.op.reshape(x.expr, image)),
        [count, 1],
        [1, 1],
        [0, 0, 0, 0],
        [image[0], 1, 1, image[3]],
        int(x.zero_point[0]),
        form.mantissa,
        form.scaling,
        target.output,
        pattern=4,
        name="mean_int8",
    )
    return relax.op.reshape(graph.rebuilder.emit(total), shape_of(producer))


def same(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """What is dequantized and quantized again stays as it is, or changes its codes."""
    x = graph.activation_of(producer)
    return None if x is None else recoded(graph, x, x.expr, target)


def move(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """Operators that move or select elements run on the codes, and change them afterwards."""
    x = graph.activation(producer.args[0])
    if x is None:
        return None
    if op_name(producer) == "relax.nn.pad":
        zero = float(x.zero_point[0])
        if str(producer.attrs.pad_mode) != "constant" or float(producer.attrs.pad_value) != 0.0:
            return None
        moved = relax.op.nn.pad(x.expr, integers(producer.attrs.pad_width), "constant", zero)
    else:
        rest = [graph.rebuilder.renamed(argument) for argument in producer.args[1:]]
        moved = relax.Call(producer.op, [x.expr, *rest], producer.attrs, producer.ty_args)
    return recoded(graph, x, moved, target)


def concat(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """Each part with the output's codes, then all in a row."""
    if not isinstance(producer.args[0], relax.Tuple):
        return None
    found = [graph.activation(item) for item in producer.args[0].fields]
    parts = [part for part in found if part is not None]
    if len(parts) < len(found):
        return None
    codes = [recoded(graph, part, part.expr, target) for part in parts]
    if any(code is None for code in codes):
        return None
    return relax.op.concat([graph.rebuilder.emit(code) for code in codes], int(producer.attrs.axis))


RULES: dict[str, Rule] = {
    "relax.nn.conv2d": linear,
    "relax.matmul": linear,
    "relax.dequantize": same,
    "relax.add": add,
    "relax.subtract": subtract,
    "relax.multiply": multiply,
    "relax.nn.avg_pool2d": average_pool,
    "relax.mean": mean,
    "relax.nn.max_pool2d": move,
    "relax.reshape": move,
    "relax.expand_dims": move,
    "relax.squeeze": move,
    "relax.permute_dims": move,
    "relax.strided_slice": move,
    "relax.nn.pad": move,
    "relax.concat": concat,
    "relax.nn.softmax": softmax,
}
