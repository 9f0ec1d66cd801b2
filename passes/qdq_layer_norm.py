"""Layer normalization between DequantizeLinear and QuantizeLinear, on the codes.

The operator's own definition and exporters write it out, so the whole chain is matched, with M the
mean of X along the innermost axis and D = X - M:

    D / sqrt(variance + eps) * gamma + beta,   variance = mean(X X) - M M  or  mean(D D)

gamma and beta may be missing. See ``kernels.layer_norm_codes`` for the arithmetic.
"""

from __future__ import annotations

from math import frexp
from typing import Any

import numpy as np
from tvm import relax

from footprint_compiler.kernels.layer_norm_codes import POINT, fits, layer_norm_codes
from footprint_compiler.passes.qdq_graph import QdqGraph, Quantized, Target, is_narrow
from footprint_compiler.passes.qdq_linear import real_constant
from footprint_compiler.passes.rebuild import integers, op_name, shape_of, tensor_constant

LEAST_BITS = 8
"""After the point of gamma, in steps of the output."""


def layer_norm(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """A call of the integer kernel, or None."""
    producer, beta = _peel(graph, producer, "relax.add")
    producer, gamma = _peel(graph, producer, "relax.multiply")
    matched = _normalized(graph, producer)
    if matched is None:
        return None
    x, epsilon = matched
    shape = shape_of(x.expr)
    extent, scale = shape[-1], float(x.scale[0])
    factors = _along(gamma, extent, 1.0)
    offsets = _along(beta, extent, 0.0)
    if factors is None or offsets is None:
        return graph.decline("its constants do not lie along its axis")
    added = max(1, round(epsilon * extent**2 / scale**2))
    largest = float(np.abs(factors).max()) / target.scale
    bits = min(30, 30 - frexp(largest)[1])
    moved = np.rint(offsets / target.scale * 2.0 ** (POINT + bits))
    if bits < LEAST_BITS or float(np.abs(moved).max()) >= 2.0**60:
        return graph.decline("its constants are too large for its scales")
    if not fits(extent, 8 if is_narrow(x) else 16, added):
        return graph.decline("its rows are too long")
    dtype = str(x.expr.ty.dtype)
    func = layer_norm_codes(shape, dtype, added, bits, target.output)
    variable = graph.rebuilder.builder.add_func(func, "layer_norm_int8")
    constants = [
        tensor_constant(np.rint(factors / target.scale * 2.0**bits).astype("int32")),
        tensor_constant(moved.astype("int64")),
    ]
    result = relax.TensorType(shape, target.output.dtype)
    return relax.call_tir(variable, [x.expr, *constants], result)


def _peel(graph: QdqGraph, producer: Any, name: str) -> tuple[Any, np.ndarray | None]:
    """The operand of a sum or product with a constant, and the constant."""
    if op_name(producer) == name:
        for value, other in ((0, 1), (1, 0)):
            constant = real_constant(graph, producer.args[other])
            if constant is not None:
                return graph.definition(producer.args[value]), constant
    return producer, None


def _along(constant: np.ndarray | None, extent: int, default: float) -> np.ndarray | None:
    """One number for each element of the innermost axis."""
    if constant is None:
        return np.full(extent, default)
    if constant.size not in (1, extent) or not np.all(np.isfinite(constant)):
        return None
    if constant.size > 1 and constant.shape[-1] != extent:
        return None
    return np.broadcast_to(constant.ravel(), (extent,))


def _normalized(graph: QdqGraph, producer: Any) -> tuple[Quantized, float] | None:
    """X and eps of D / sqrt(variance + eps)."""
    if op_name(producer) != "relax.divide":
        return None
    deviation, root = (graph.definition(argument) for argument in producer.args)
    if op_name(deviation) != "relax.subtract" or op_name(root) != "relax.sqrt":
        return None
    value, mean = deviation.args
    x = graph.activation(value)
    total, epsilon = _peel(graph, graph.definition(root.args[0]), "relax.add")
    if x is None or epsilon is None or not epsilon.size or not _is_mean(graph, mean, value):
        return None
    if np.any(epsilon != epsilon.flat[0]):
        return None
    if not _is_variance(graph, total, value, mean, producer.args[0]):
        return None
    number = float(epsilon.flat[0])
    return (x, number) if 0 <= number < np.inf and shape_of(producer) == shape_of(x.expr) else None


def _is_mean(graph: QdqGraph, expr: Any, value: Any) -> bool:
    """Whether ``expr`` is the mean of ``value`` along the innermost axis, which is kept."""
    producer = graph.definition(expr)
    if op_name(producer) != "relax.mean" or not producer.args[0].same_as(value):
        return False
    rank = len(shape_of(value))
    axes = producer.attrs.axis
    last = axes is not None and [axis % rank for axis in integers(axes)] == [rank - 1]
    return bool(last and producer.attrs.keepdims)


def _is_square(graph: QdqGraph, expr: Any, value: Any) -> bool:
    producer = graph.definition(expr)
    return op_name(producer) == "relax.multiply" and all(
        argument.same_as(value) for argument in producer.args
    )


def _is_mean_square(graph: QdqGraph, expr: Any, value: Any) -> bool:
    producer = graph.definition(expr)
    return (
        op_name(producer) == "relax.mean"
        and _is_square(graph, producer.args[0], value)
        and _is_mean(graph, expr, producer.args[0])
    )


def _is_variance(graph: QdqGraph, producer: Any, value: Any, mean: Any, deviation: Any) -> bool:
    if op_name(producer) == "relax.subtract":
        first, second = producer.args
        return _is_mean_square(graph, first, value) and _is_square(graph, second, mean)
    return _is_mean_square(graph, producer, deviation)
