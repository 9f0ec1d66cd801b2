"""Softmax between DequantizeLinear and QuantizeLinear, on the codes.

softmax(s (q - z)) does not depend on z; see ``kernels.softmax_codes`` for the arithmetic. Declined
where the axis is not the innermost one, and for 16-bit tensors, whose table would be too large.
"""

from __future__ import annotations

from typing import Any

from tvm import relax

from footprint_compiler.kernels.softmax_codes import exponential_table, softmax_codes
from footprint_compiler.passes.qdq_graph import QdqGraph, Target, is_narrow
from footprint_compiler.passes.rebuild import shape_of, tensor_constant

INTEGRAL = 1e-6
"""Relative distance from an integer that is taken for the rounding of a stored scale."""
MOST_LEVELS = 2**17


def softmax(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """A call of the integer kernel, or None."""
    x = graph.activation(producer.args[0])
    shape = shape_of(producer)
    if x is None or not is_narrow(x):
        return graph.decline("its input is not one quantized tensor of 8 bits")
    if not shape or int(producer.attrs.axis) % len(shape) != len(shape) - 1:
        return graph.decline("its axis is not the innermost one")
    real = 1.0 / target.scale
    levels = round(real)
    integral = levels >= 1 and abs(levels * target.scale - 1.0) <= INTEGRAL
    scale, extent = float(x.scale[0]), shape[-1]
    tables = [exponential_table(scale, extent, real)]
    if not integral:
        tables.append(exponential_table(scale, extent, real, real))
    if not 1.0 <= real <= MOST_LEVELS or any(table is None for table in tables):
        return graph.decline("too few bits are left for its sums")
    dtype = str(x.expr.ty.dtype)
    func = softmax_codes(shape, dtype, levels if integral else None, target.output)
    builder = graph.rebuilder.builder
    variable = builder.add_func(func, "softmax_int8")
    result = relax.TensorType(shape, target.output.dtype)
    constants = [tensor_constant(table) for table in tables if table is not None]
    return relax.call_tir(variable, [x.expr, *constants], result)
