"""x * A + B with constants A and B that differ between elements, and PRelu, on the codes.

With y = x A + B, x = sx (qx - zx), y = sy (qy - zy):

    qy = clamp(((qx - zx) F + G) / 2^k to the nearest even + zy)
    F = round(A sx / sy 2^k),  G = round(B / sy 2^k)

k is as large as the sums allow, so that rounding F and G costs less than ``LOSS`` of a step. Equal
constants are left to the tables of ``qdq_table``, where the tensor has only 8 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp
from typing import Any

import numpy as np

from footprint_compiler.kernels.quantized import quantized_affine, quantized_prelu
from footprint_compiler.passes.qdq_graph import QdqGraph, Quantized, Target, call_te
from footprint_compiler.passes.qdq_linear import real_constant
from footprint_compiler.passes.qdq_scale import largest
from footprint_compiler.passes.rebuild import op_name, shape_of, tensor_constant

LOSS = 1 / 64
"""Steps of the output that rounding the factors may cost at most."""


@dataclass(frozen=True)
class _Affine:
    """``x * factor + offset``; arrays of real numbers that broadcast to the shape of ``x``."""

    x: Quantized
    factor: np.ndarray
    offset: np.ndarray


@dataclass(frozen=True)
class _Fixed:
    """Factors in fixed point: everything is divided by 2^``shift`` in the dtype ``wide``."""

    shift: int
    wide: str


def affine(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """The kernel for sums, differences, products and quotients with constants, and PRelu."""
    found = _affine(graph, producer)
    negative: np.ndarray | None = None
    if found is None:
        found, negative = _prelu(graph, producer)
    if found is None or shape_of(producer) != tuple(int(e) for e in found.x.expr.ty.shape):
        return None
    scale = float(found.x.scale[0]) / target.scale
    factors = [found.factor * scale] + ([] if negative is None else [negative * scale])
    offset = found.offset / target.scale
    fixed = _fixed(factors, offset, largest(found.x))
    if fixed is None:
        return graph.decline("its constants are too large for its scales")
    constants = [_integers(factor, fixed.shift, "int32", found.x) for factor in factors]
    kernel: Any = quantized_prelu
    if negative is None:
        kernel = quantized_affine
        constants.append(_integers(offset, fixed.shift, fixed.wide, found.x))
    return call_te(
        graph,
        kernel,
        found.x.expr,
        *constants,
        int(found.x.zero_point[0]),
        fixed.shift,
        target.output,
        fixed.wide,
        pattern=1,
        name="affine_int8",
    )


def _affine(graph: QdqGraph, expr: Any) -> _Affine | None:
    producer = graph.definition(expr)
    name = op_name(producer)
    if name == "relax.dequantize":
        x = graph.activation_of(producer)
        return None if x is None else _Affine(x, np.ones(()), np.zeros(()))
    if name == "relax.negative":
        inner = _affine(graph, producer.args[0])
        return None if inner is None else _Affine(inner.x, -inner.factor, -inner.offset)
    if name not in ("relax.add", "relax.subtract", "relax.multiply", "relax.divide"):
        return None
    for value, other, sign in ((0, 1, 1.0), (1, 0, -1.0)):
        constant = real_constant(graph, producer.args[other])
        if constant is None or not np.all(np.isfinite(constant)):
            continue
        inner = _affine(graph, producer.args[value])
        if inner is None:
            return None
        if name == "relax.add":
            return _Affine(inner.x, inner.factor, inner.offset + constant)
        if name == "relax.subtract":
            offset = sign * inner.offset - sign * constant
            return _Affine(inner.x, sign * inner.factor, offset)
        if name == "relax.multiply":
            return _Affine(inner.x, inner.factor * constant, inner.offset * constant)
        if value == 0 and np.all(constant != 0):
            return _Affine(inner.x, inner.factor / constant, inner.offset / constant)
    return None


def _prelu(graph: QdqGraph, producer: Any) -> tuple[_Affine | None, np.ndarray | None]:
    """where(x < 0, x * slope, x), as the frontend writes PRelu."""
    if op_name(producer) != "relax.where":
        return None, None
    test, scaled = (graph.definition(argument) for argument in producer.args[:2])
    x = producer.args[2]
    if op_name(test) != "relax.less" or op_name(scaled) != "relax.multiply":
        return None, None
    zero = real_constant(graph, test.args[1])
    slope = real_constant(graph, scaled.args[1])
    same = test.args[0].same_as(x) and scaled.args[0].same_as(x)
    quantized = graph.activation(x)
    if not same or zero is None or np.any(zero != 0) or slope is None or quantized is None:
        return None, None
    return _Affine(quantized, np.ones(()), np.zeros(())), slope


def _fixed(factors: list[np.ndarray], offset: np.ndarray, furthest: int) -> _Fixed | None:
    """The most precise form; int32 sums where they are precise enough."""
    factor = max(float(np.abs(array).max()) for array in factors)
    total = factor * furthest + float(np.abs(offset).max())
    if not np.isfinite(total) or total == 0:
        return None
    for wide, bits in (("int32", 30), ("int64", 61)):
        shift = min(bits - frexp(total)[1], 30 - frexp(factor)[1], bits)
        if shift >= 1 and (furthest + 1) / 2.0 ** (shift + 1) <= LOSS:
            return _Fixed(shift, wide)
    return None


def _integers(array: np.ndarray, shift: int, dtype: str, x: Quantized) -> Any:
    """An integer constant of as many axes as ``x`` has."""
    rank = len(x.expr.ty.shape)
    shaped = array.reshape((1,) * (rank - array.ndim) + array.shape)
    return tensor_constant(np.rint(shaped * 2.0**shift).astype(dtype))
