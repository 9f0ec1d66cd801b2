"""Integer forms of operators between DequantizeLinear and QuantizeLinear.

A rule is ``rule(graph, producer, target) -> call | None``: ``producer`` is the float operator whose
result (after clamps) is quantized into ``target``. None means that the operator stays in float.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax

from footprint_compiler.kernels.quantized import quantized_multiply, quantized_product
from footprint_compiler.kernels.quantized_add import quantized_add
from footprint_compiler.passes.qdq_graph import QdqGraph, Target, call_te, is_narrow
from footprint_compiler.passes.qdq_linear import linear
from footprint_compiler.passes.qdq_padding import pads_with_zero
from footprint_compiler.passes.qdq_pool import average_pool, mean
from footprint_compiler.passes.qdq_resize import resize
from footprint_compiler.passes.qdq_scale import largest, requantization
from footprint_compiler.passes.qdq_softmax import softmax
from footprint_compiler.passes.qdq_table import recoded, table_of_several
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
        return graph.decline("its operands are not two quantized tensors")
    table = table_of_several(graph, producer, target)
    if table is not None:
        return table
    ratios = (float(a.scale[0]) / target.scale, float(b.scale[0]) / target.scale)
    if min(ratios) <= 0 or not np.isfinite(max(ratios)):
        return None
    exponent = int(np.ceil(np.log2(max(ratios))))
    narrow = is_narrow(a) and is_narrow(b) and exponent < 10
    shift = min(24, 19 - exponent) if narrow else min(44, 30 - exponent)
    if shift < 1:
        return graph.decline("its scales are too far apart")
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
        return graph.decline("its operands are not two quantized tensors")
    table = table_of_several(graph, producer, target)
    if table is not None:
        return table
    scale = float(a.scale[0]) * float(b.scale[0]) / target.scale
    form = requantization(scale, float(largest(a)) * largest(b))
    if form is None:
        return graph.decline("its sums or its multiplier do not fit")
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


def same(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """What is dequantized and quantized again stays as it is, or changes its codes."""
    x = graph.activation_of(producer)
    return None if x is None else recoded(graph, x, x.expr, target)


def move(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """Operators that move or select elements run on the codes, and change them afterwards.

    What no DequantizeLinear gave is computed in the codes of the output, and moved then.
    """
    if op_name(producer) == "relax.nn.pad" and not pads_with_zero(producer):
        return graph.decline("it does not pad with zeros")
    x = graph.activation(producer.args[0])
    if x is not None:
        return recoded(graph, x, _moved(graph, producer, x.expr, int(x.zero_point[0])), target)
    codes = graph.lowered(producer.args[0], target)
    if codes is None:
        return graph.decline("its input is not one quantized tensor")
    output = target.output
    zero = min(max(output.zero_point, output.low), output.high)
    return _moved(graph, producer, codes, zero)


def _moved(graph: QdqGraph, producer: Any, codes: Any, zero: int) -> Any:
    """The operator on ``codes``, of which ``zero`` is the one for 0."""
    if op_name(producer) == "relax.nn.pad":
        widths = integers(producer.attrs.pad_width)
        return relax.op.nn.pad(codes, widths, "constant", float(zero))
    rest = [graph.rebuilder.renamed(argument) for argument in producer.args[1:]]
    return relax.Call(producer.op, [codes, *rest], producer.attrs, producer.ty_args)


def concat(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """Each part with the output's codes, then all in a row."""
    if not isinstance(producer.args[0], relax.Tuple):
        return None
    parts = list(producer.args[0].fields)
    found = [graph.activation(part) for part in parts]
    codes = []
    for part, x in zip(parts, found, strict=True):
        call = graph.lowered(part, target) if x is None else recoded(graph, x, x.expr, target)
        if call is None:
            return graph.decline("its parts are not all quantized tensors")
        codes.append(graph.rebuilder.emit(call))
    return relax.op.concat(codes, int(producer.attrs.axis))


def matmul(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """Constant weights, or two activations as attention has them."""
    found = linear(graph, producer, target)
    if found is not None:
        return found
    a, b = (graph.activation(argument) for argument in producer.args)
    if a is None or b is None:
        return None
    shapes = [shape_of(argument) for argument in producer.args]
    if min(len(shape) for shape in shapes) < 2:
        return graph.decline("an operand is a vector")
    scale = float(a.scale[0]) * float(b.scale[0]) / target.scale
    form = requantization(scale, float(shapes[0][-1]) * largest(a) * largest(b))
    if form is None:
        return graph.decline("its sums or its multiplier do not fit")
    return call_te(
        graph,
        quantized_product,
        a.expr,
        b.expr,
        (int(a.zero_point[0]), int(b.zero_point[0])),
        form.mantissa,
        form.scaling,
        target.output,
        pattern=4,
        name="product_int8",
    )


RULES: dict[str, Rule] = {
    "relax.call_tir": resize,
    "relax.nn.conv2d": linear,
    "relax.nn.conv2d_transpose": linear,
    "relax.matmul": matmul,
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
SUMS: dict[str, Rule] = {
    name: RULES[name]
    for name in (
        "relax.nn.conv2d",
        "relax.nn.conv2d_transpose",
        "relax.matmul",
        "relax.add",
        "relax.subtract",
        "relax.nn.avg_pool2d",
        "relax.mean",
    )
}
"""Rules whose result is requantized, so that a constant factor after it is part of that."""
