"""What each operator does with orders of axes: which it can work in, what comes out, what it costs.

An operator works in one order, ``w``: its data operands are brought to it, its result is in
``gives(call, w)``. What is not in ``OPERATORS`` reads and writes the model's order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

from tvm import relax

from footprint_compiler.passes.layout_cost import LayoutCost
from footprint_compiler.passes.layout_orders import (
    Permutation,
    channels_last,
    identity,
    through_reshape,
)
from footprint_compiler.passes.rebuild import integers, is_constant, op_name, shape_of


@dataclass(frozen=True)
class Operator:
    """One kind of operator.

    Attributes:
        cost: (model, call, w) -> instructions.
        gives: (call, w) -> order of the result, None where it cannot work in ``w``.
        orders: call -> all orders that it can work in; None for any.
        data: call -> operands that are brought to ``w``.
        elementwise: it joins the kernel of a neighbour, a convolution's included.
        moves: it moves elements, and joins the kernel of a neighbour that does no more.
        anchor: elementwise consumers join its kernel.
    """

    cost: Callable[[LayoutCost, Any, Permutation], float]
    gives: Callable[[Any, Permutation], Permutation | None] = lambda call, w: w
    orders: Callable[[Any], tuple[Permutation, ...] | None] = lambda call: None
    data: Callable[[Any], list[Any]] = lambda call: [call.args[0]]
    elementwise: bool = False
    moves: bool = False
    anchor: bool = False


def tensors(call: Any) -> list[Any]:
    """Tensor operands, those in tuples included."""
    found: list[Any] = []
    for argument in call.args:
        fields = argument.fields if isinstance(argument, relax.Tuple) else [argument]
        found += [one for one in fields if isinstance(one.ty, relax.TensorType)]
    return found


def dtype_of(expr: Any) -> str:
    """Element type of a tensor."""
    return str(expr.ty.dtype)


def permutation_of(call: Any) -> list[int]:
    """Axes of a ``permute_dims``, none negative."""
    rank = len(shape_of(call.args[0]))
    axes = call.attrs.axes
    return [a % rank for a in integers(axes)] if axes is not None else list(range(rank))[::-1]


def axis_of(call: Any) -> int:
    """The ``axis`` of a call in its first operand, not negative."""
    return int(call.attrs.axis) % len(shape_of(call.args[0]))


def reduced_axes(call: Any) -> list[int]:
    """Axes that a reduction removes, none negative."""
    rank = len(shape_of(call.args[0]))
    axes = call.attrs.axis
    return [a % rank for a in integers(axes)] if axes is not None else list(range(rank))


def reduced_order(call: Any, w: Permutation) -> Permutation:
    """The order of a reduction's result."""
    axes = reduced_axes(call)
    return w if bool(call.attrs.keepdims) else without(w, axes)


def without(w: Permutation, axes: list[int]) -> Permutation:
    """An order of which some logical axes are gone."""
    left = sorted(w[a] for a in range(len(w)) if a not in axes)
    return tuple(left.index(w[a]) for a in range(len(w)) if a not in axes)


def taken_order(call: Any, w: Permutation) -> Permutation | None:
    """The order of a ``take`` with one index or a row of them."""
    if call.attrs.axis is None:
        return None
    rank = len(shape_of(call.args[1]))
    axis = axis_of(call)
    return without(w, [axis]) if rank == 0 else w if rank == 1 else None


def reshaped_order(call: Any, w: Permutation) -> Permutation | None:
    """The order of a reshape whose bytes stay in place."""
    return through_reshape(shape_of(call.args[0]), shape_of(call), w)


def _elementwise(model: LayoutCost, call: Any, w: Permutation) -> float:
    shapes = [shape_of(one) for one in tensors(call)]
    return model.elementwise(shape_of(call), dtype_of(call), shapes, w)


def _same_rank(call: Any) -> list[Any]:
    rank = len(shape_of(call))
    return [one for one in tensors(call) if len(shape_of(one)) == rank]


def _concat(model: LayoutCost, call: Any, w: Permutation) -> float:
    axis = int(call.attrs.axis) % len(w)
    parts = tensors(call)
    return sum(model.along(shape_of(one), dtype_of(one), axis, w) for one in parts)


def _parts(call: Any) -> list[Any]:
    return list(call.args[0].fields) if isinstance(call.args[0], relax.Tuple) else []


def _split(model: LayoutCost, call: Any, w: Permutation) -> float:
    shapes = [tuple(int(e) for e in field.shape) for field in call.ty.fields]
    dtype = dtype_of(call.args[0])
    return sum(model.along(shape, dtype, axis_of(call), w) for shape in shapes)


def _slice(model: LayoutCost, call: Any, w: Permutation) -> float:
    before, after = shape_of(call.args[0]), shape_of(call)
    cut = [a for a in range(len(before)) if before[a] != after[a]]
    return sum(model.along(after, dtype_of(call), a, w) for a in cut)


def _pad(model: LayoutCost, call: Any, w: Permutation) -> float:
    after = shape_of(call)
    inner = max((a for a in range(len(w)) if after[a] != 1), key=lambda a: w[a], default=0)
    return model.runs(prod(after), after[inner], dtype_of(call))


def _take(model: LayoutCost, call: Any, w: Permutation) -> float:
    shape, out = shape_of(call.args[0]), shape_of(call)
    inner = prod(shape[a] for a in range(len(w)) if w[a] > w[axis_of(call)])
    return model.runs(prod(out), inner, dtype_of(call))


def _reduce(model: LayoutCost, call: Any, w: Permutation) -> float:
    data = call.args[0]
    return model.reduce(shape_of(data), dtype_of(data), reduced_axes(call), w)


def _softmax(model: LayoutCost, call: Any, w: Permutation) -> float:
    return model.softmax(shape_of(call), dtype_of(call), axis_of(call), w)


def _free(model: LayoutCost, call: Any, w: Permutation) -> float:
    return 0.0


def _window(model: LayoutCost, call: Any, w: Permutation) -> float:
    """Products of a convolution, or the elements of a pool's windows."""
    out = prod(shape_of(call))
    name = op_name(call)
    if "conv" in name:
        per_output = prod(shape_of(call.args[1])[1:])
    else:
        per_output = prod(integers(call.attrs.pool_size)) if "pool" in name else 1
    return model.general(out * per_output, shape_of(call), w)


def _spatial(*layouts: str) -> Callable[[Any], tuple[Permutation, ...] | None]:
    """Channels last, or the model's own order; that alone for what is laid out otherwise."""

    def orders(call: Any) -> tuple[Permutation, ...]:
        rank, attrs = len(shape_of(call)), call.attrs
        given = [attrs.layout] if hasattr(attrs, "layout") else [attrs.data_layout]
        if len(layouts) > 1:
            given.append(attrs.kernel_layout)
        if given != list(layouts):
            return (identity(rank),)
        return (channels_last(rank), identity(rank))

    return orders


def _image(*layouts: str) -> Operator:
    return Operator(_window, orders=_spatial(*layouts), anchor=True)


# fmt: off
UNARY = (
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "bitwise_not", "ceil", "clip",
    "cos", "cosh", "erf", "exp", "floor", "isfinite", "isinf", "isnan", "log", "logical_not",
    "negative", "round", "rsqrt", "sigmoid", "sign", "sin", "sinh", "sqrt", "square", "tan",
    "tanh", "trunc", "astype", "nn.relu", "nn.leakyrelu", "nn.gelu", "nn.gelu_tanh", "nn.silu",
    "nn.softplus", "nn.selu",
)
BINARY = (
    "add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "floor_divide",
    "floor_mod", "mod", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
    "logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_xor",
    "where",
)
# fmt: on
REDUCTIONS = ("sum", "mean", "max", "min", "prod")

_ELEMENTWISE = Operator(_elementwise, data=_same_rank, elementwise=True)
_CODES = Operator(_elementwise, elementwise=True)

OPERATORS: dict[str, Operator] = {
    **{f"relax.{name}": _ELEMENTWISE for name in (*UNARY, *BINARY)},
    "relax.permute_dims": Operator(
        _free, lambda call, w: tuple(w[axis] for axis in permutation_of(call))
    ),
    "relax.nn.conv2d": _image("NCHW", "OIHW"),
    "relax.nn.conv1d": _image("NCW", "OIW"),
    "relax.nn.conv2d_transpose": _image("NCHW", "IOHW"),
    "relax.nn.max_pool2d": _image("NCHW"),
    "relax.nn.avg_pool2d": _image("NCHW"),
    "relax.image.resize2d": _image("NCHW"),
    "relax.concat": Operator(_concat, data=_parts, moves=True),
    "relax.split": Operator(_split, moves=True),
    "relax.strided_slice": Operator(_slice, moves=True),
    "relax.nn.pad": Operator(_pad, moves=True),
    "relax.take": Operator(_take, taken_order, moves=True),
    **{f"relax.{name}": Operator(_reduce, reduced_order) for name in REDUCTIONS},
    "relax.nn.softmax": Operator(_softmax),
    "relax.nn.log_softmax": Operator(_softmax),
    "relax.quantize": _CODES,
    "relax.dequantize": _CODES,
    "relax.reshape": Operator(_free, reshaped_order),
}


def feeds_matrices(var: Any, call: Any, users: dict[Any, list[Any]]) -> bool:
    """Whether a flatten only feeds constant matrices, whose rows can follow its bytes."""
    before = shape_of(call.args[0])
    if len(before) < 2 or shape_of(call) != (before[0], prod(before[1:])):
        return False
    readers = users.get(var, [])
    matrices = [user for user in readers if user is not None and op_name(user) == "relax.matmul"]
    if len(matrices) != len(readers) or not readers:
        return False
    weights = [user.args[1] for user in matrices]
    return all(user.args[0].same_as(var) for user in matrices) and all(
        is_constant(item) and len(shape_of(item)) <= 2 for item in weights
    )
