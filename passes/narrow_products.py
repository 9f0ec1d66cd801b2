"""MatMulInteger and ConvInteger with constant weights: 8-bit weights in flash, not 32-bit ones.

    sum (x - zx) w  in int32,  x and zx of 8 bits  =  sum x' w  with x' = x - zx in int16

x' has nine bits and so fits; the weights keep the fewest bytes that hold them. Products and sums
are exact integers either way. Zero points may be computed at run time, as DynamicQuantizeLinear
does: nothing here depends on their values.

Not matched: weights that are no constants or need more than 16 bits, and operands of another form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax

from footprint_compiler.kernels.anchors import conv2d_nhwc, matmul
from footprint_compiler.passes.base import PassContext
from footprint_compiler.passes.qdq_graph import QdqGraph, call_te
from footprint_compiler.passes.rebuild import (
    constant_array,
    integers,
    is_constant,
    op_name,
    shape_of,
    tensor_constant,
)

EIGHT = ("int8", "uint8")


@dataclass(frozen=True)
class NarrowProducts:
    """See the module."""

    name: str = "narrow-products"

    def run(self, module: Any, ctx: PassContext) -> Any:
        """Rewrite ``main``."""
        graph = QdqGraph(module)
        rebuilder = graph.rebuilder

        def visit(_: Any, expr: Any) -> Any:
            narrow = _narrow(graph, expr)
            if narrow is not None:
                return rebuilder.emit(narrow)
            new = rebuilder.renamed(expr)
            bound = (relax.Call, relax.TupleGetItem, relax.Tuple)
            return rebuilder.emit(new) if isinstance(new, bound) else new

        return rebuilder.run(visit, rebuilder.renamed, lambda var: var)


def _narrow(graph: QdqGraph, call: Any) -> Any:
    name = op_name(call)
    if name not in ("relax.matmul", "relax.nn.conv2d") or str(call.ty.dtype) != "int32":
        return None
    weights = _constant(graph, call.args[1])
    if weights is None or weights.ndim != (2 if name == "relax.matmul" else 4):
        return None
    dtype = next((d for d in ("int8", "int16") if _fits(weights, d)), None)
    if dtype is None or len(shape_of(call.args[0])) < 2:
        return None
    if name == "relax.nn.conv2d" and (
        call.attrs.data_layout != "NHWC" or call.attrs.kernel_layout != "OIHW"
    ):
        return None
    x = _sixteen_bits(graph, call.args[0])
    if x is None:
        return None
    w = tensor_constant(weights.astype(dtype))
    if name == "relax.matmul":
        return call_te(graph, matmul, x, w, pattern=4, name="matmul_integer")
    attrs = call.attrs
    pads = integers(attrs.padding)
    pads = pads * 4 if len(pads) == 1 else pads * 2 if len(pads) == 2 else pads
    geometry = integers(attrs.strides), pads, integers(attrs.dilation), int(attrs.groups)
    return call_te(graph, conv2d_nhwc, x, w, *geometry, pattern=4, name="conv2d_integer")


def _constant(graph: QdqGraph, expr: Any) -> np.ndarray | None:
    """The integers of constant weights, less a constant zero point."""
    producer = graph.definition(expr)
    if is_constant(producer):
        return constant_array(producer).astype(np.int64)
    name = op_name(producer)
    if name == "relax.astype":
        return _constant(graph, producer.args[0])
    if name == "relax.subtract":
        both = [_constant(graph, argument) for argument in producer.args]
        return None if both[0] is None or both[1] is None else both[0] - both[1]
    return None


def _fits(array: np.ndarray, dtype: str) -> bool:
    limits = np.iinfo(dtype)
    return bool(array.size and limits.min <= array.min() and array.max() <= limits.max)


def _sixteen_bits(graph: QdqGraph, expr: Any) -> Any:
    """The operand in int16, where it is an 8-bit tensor, or one less an 8-bit zero point."""
    producer = graph.definition(expr)
    if op_name(producer) == "relax.permute_dims":
        inner = _sixteen_bits(graph, producer.args[0])
        if inner is None:
            return None
        moved = relax.Call(producer.op, [inner], producer.attrs, producer.ty_args)
        return graph.rebuilder.emit(moved)
    if op_name(producer) != "relax.subtract":
        return _eight_bits(graph, expr)
    both = [_eight_bits(graph, argument) for argument in producer.args]
    if both[0] is None or both[1] is None:
        return None
    return graph.rebuilder.emit(relax.op.subtract(*both))


def _eight_bits(graph: QdqGraph, expr: Any) -> Any:
    """An 8-bit tensor that was widened, in int16."""
    producer = graph.definition(expr)
    if is_constant(producer):
        array = constant_array(producer)
        eight = array.size and array.min() >= -128 and array.max() <= 255
        return tensor_constant(array.astype(np.int16)) if eight else None
    if op_name(producer) in ("relax.reshape", "relax.permute_dims"):
        inner = _eight_bits(graph, producer.args[0])
        if inner is None:
            return None
        rest = [graph.rebuilder.renamed(argument) for argument in producer.args[1:]]
        call = relax.Call(producer.op, [inner, *rest], producer.attrs, producer.ty_args)
        return graph.rebuilder.emit(call)
    if op_name(producer) != "relax.astype" or str(producer.args[0].ty.dtype) not in EIGHT:
        return None
    source = graph.rebuilder.renamed(producer.args[0])
    return graph.rebuilder.emit(relax.op.astype(source, "int16"))
