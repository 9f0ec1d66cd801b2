"""Softmax between DequantizeLinear and QuantizeLinear, on the codes.

softmax(s (q - z)) does not depend on z; see ``kernels.softmax_codes`` for the arithmetic. Declined
where the axis is not the innermost one, or 1 / (scale of the output) is not an integer.
"""

from __future__ import annotations

from typing import Any

from tvm import relax

from footprint_compiler.kernels.softmax_codes import exponential_table, softmax_codes
from footprint_compiler.passes.qdq_graph import QdqGraph, Target, is_narrow
from footprint_compiler.passes.rebuild import shape_of, tensor_constant

INTEGRAL = 1e-6
"""Relative distance from an integer that is taken for the rounding of a stored scale."""


def softmax(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """A call of the integer kernel, or None."""
    x = graph.activation(producer.args[0])
    shape = shape_of(producer)
    if (
        x is None
        or not is_narrow(x)
        or not shape
        or int(producer.attrs.axis) % len(shape) != len(shape) - 1
    ):
        return None
    levels = round(1.0 / target.scale)
    if levels < 1 or abs(levels * target.scale - 1.0) > INTEGRAL or levels > 2**16:
        return None
    table = exponential_table(float(x.scale[0]), shape[-1], levels)
    if table is None:
        return None
    func = softmax_codes(shape, str(x.expr.ty.dtype), levels, target.output)
    builder = graph.rebuilder.builder
    variable = builder.add_func(func, "softmax_int8")
    result = relax.TensorType(shape, target.output.dtype)
    return relax.call_tir(variable, [x.expr, tensor_constant(table)], result)
