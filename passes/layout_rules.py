"""How each operator works on values that are carried in another order of axes.

A rule is ``rule(layouter, call, var) -> Laid | tuple[Laid, ...] | None``; None means that the
operator is emitted on logical operands. ``Laid`` and the layouter are described in
``choose_layout``; a logical axis ``a`` of a value is axis ``perm[a]`` of its expression.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from tvm import relax

from footprint_compiler.passes.rebuild import (
    constant_array,
    integers,
    is_constant,
    op_name,
    shape_of,
    tensor_constant,
)

if TYPE_CHECKING:
    from footprint_compiler.passes.choose_layout import Laid, Layouter

Rule = Callable[["Layouter", Any, Any], Any]


def _laid(expr: Any, perm: tuple[int, ...]) -> Laid:
    from footprint_compiler.passes.choose_layout import Laid

    return Laid(expr, perm)


def _channels_last(rank: int) -> tuple[int, ...]:
    return (0, rank - 1, *range(1, rank - 1))


def _same_op(call: Any, arguments: list[Any]) -> Any:
    return relax.Call(call.op, arguments, call.attrs, call.ty_args)


def elementwise(layouter: Layouter, call: Any, var: Any) -> Any:
    """Any number of broadcast operands: all of them in the order of the largest one."""
    rank = len(shape_of(call))
    tensors = [arg for arg in call.args if isinstance(arg.ty, relax.TensorType)]
    held = [layouter.held(arg) for arg in tensors]
    candidates = [value for value in held if len(value.perm) == rank and not value.plain]
    if not candidates:
        return None
    best = max(candidates, key=lambda value: prod(shape_of(value.expr)))
    perm = best.perm
    arguments = []
    for arg in call.args:
        if not isinstance(arg.ty, relax.TensorType):
            arguments.append(arg)
            continue
        value = layouter.held(arg)
        if len(value.perm) == 0:
            arguments.append(value.expr)
            continue
        if len(value.perm) < rank:
            shape = shape_of(arg)
            logical = layouter.laid_out(value, None)
            expanded = layouter.reshape(logical, (1,) * (rank - len(shape)) + shape)
            value = _laid(expanded, tuple(range(rank)))
        arguments.append(layouter.laid_out(value, perm))
    return _laid(layouter.emit(_same_op(call, arguments)), perm)


def permute(layouter: Layouter, call: Any, var: Any) -> Any:
    """A transpose of the model composes with the permutation; nothing is emitted."""
    value = layouter.held(call.args[0])
    axes = call.attrs.axes
    order = integers(axes) if axes is not None else list(range(len(value.perm)))[::-1]
    return replace(value, perm=tuple(value.perm[axis % len(order)] for axis in order))


def conv2d(layouter: Layouter, call: Any, var: Any) -> Any:
    """NCHW x OIHW -> NHWC x OIHW."""
    attrs = call.attrs
    if attrs.data_layout != "NCHW" or attrs.kernel_layout != "OIHW":
        return None
    data = layouter.laid_out(layouter.held(call.args[0]), _channels_last(4))
    new = relax.op.nn.conv2d(
        data,
        layouter.logical(call.args[1]),
        integers(attrs.strides),
        integers(attrs.padding),
        integers(attrs.dilation),
        int(attrs.groups),
        "NHWC",
        "OIHW",
        "NHWC",
        attrs.out_dtype,
    )
    return _laid(layouter.emit(new), _channels_last(4))


def conv1d(layouter: Layouter, call: Any, var: Any) -> Any:
    """A convolution over a line is one over an image of height one."""
    attrs = call.attrs
    if attrs.data_layout != "NCW" or attrs.kernel_layout != "OIW":
        return None
    data = layouter.laid_out(layouter.held(call.args[0]), _channels_last(3))
    batch, width, channels = shape_of(data)
    image = layouter.reshape(data, (batch, 1, width, channels))
    weights = layouter.logical(call.args[1])
    out, group_in, taps = shape_of(weights)
    pads = integers(attrs.padding)
    left, right = (pads * 2)[:2] if len(pads) == 1 else pads
    new = layouter.emit(
        relax.op.nn.conv2d(
            image,
            layouter.reshape(weights, (out, group_in, 1, taps)),
            [1, *integers(attrs.strides)],
            [0, left, 0, right],
            [1, *integers(attrs.dilation)],
            int(attrs.groups),
            "NHWC",
            "OIHW",
            "NHWC",
            attrs.out_dtype,
        )
    )
    _, _, out_width, out_channels = shape_of(new)
    return _laid(layouter.reshape(new, (batch, out_width, out_channels)), _channels_last(3))


def conv2d_transpose(layouter: Layouter, call: Any, var: Any) -> Any:
    """NCHW x IOHW -> NHWC x IOHW."""
    attrs = call.attrs
    if attrs.data_layout != "NCHW" or attrs.kernel_layout != "IOHW":
        return None
    data = layouter.laid_out(layouter.held(call.args[0]), _channels_last(4))
    new = relax.op.nn.conv2d_transpose(
        data,
        layouter.logical(call.args[1]),
        integers(attrs.strides),
        integers(attrs.padding),
        integers(attrs.output_padding),
        integers(attrs.dilation),
        int(attrs.groups),
        "NHWC",
        "IOHW",
        "NHWC",
        attrs.out_dtype,
    )
    return _laid(layouter.emit(new), _channels_last(4))


def pool2d(layouter: Layouter, call: Any, var: Any) -> Any:
    """Max and average pools, NCHW -> NHWC."""
    attrs = call.attrs
    if attrs.layout != "NCHW":
        return None
    data = layouter.laid_out(layouter.held(call.args[0]), _channels_last(4))
    new = getattr(relax.op.nn, op_name(call).rsplit(".", 1)[1])(
        data,
        integers(attrs.pool_size),
        integers(attrs.strides),
        integers(attrs.padding),
        integers(attrs.dilation),
        bool(attrs.ceil_mode),
        bool(attrs.count_include_pad),
        "NHWC",
        "NHWC",
    )
    return _laid(layouter.emit(new), _channels_last(4))


def resize2d(layouter: Layouter, call: Any, var: Any) -> Any:
    """Interpolation, NCHW -> NHWC."""
    attrs = call.attrs
    if attrs.layout != "NCHW":
        return None
    data = layouter.laid_out(layouter.held(call.args[0]), _channels_last(4))
    new = relax.op.image.resize2d(
        data,
        call.args[1],
        tuple(float(value) for value in attrs.roi),
        "NHWC",
        attrs.method,
        attrs.coordinate_transformation_mode,
        attrs.rounding_method,
        float(attrs.cubic_alpha),
        int(attrs.cubic_exclude),
        float(attrs.extrapolation_value),
        attrs.out_dtype,
    )
    return _laid(layouter.emit(new), _channels_last(4))


def concat(layouter: Layouter, call: Any, var: Any) -> Any:
    """All parts in the order that most of their bytes already have."""
    parts = _parts(layouter, call.args[0])
    if parts is None:
        return None
    weight: dict[tuple[int, ...], int] = {}
    for part in parts:
        weight[part.perm] = weight.get(part.perm, 0) + prod(shape_of(part.expr))
    perm = max(weight, key=lambda key: weight[key])
    axis = int(call.attrs.axis) % len(perm)
    expressions = [layouter.laid_out(part, perm) for part in parts]
    return _laid(layouter.emit(relax.op.concat(expressions, perm[axis])), perm)


def _parts(layouter: Layouter, expr: Any) -> list[Laid] | None:
    if isinstance(expr, relax.Tuple):
        return [layouter.held(item) for item in expr.fields]
    value = layouter.values.get(expr)
    return list(value) if isinstance(value, tuple) else None


def split(layouter: Layouter, call: Any, var: Any) -> Any:
    """Parts keep the order of the whole."""
    value = layouter.held(call.args[0])
    if value.plain:
        return None
    axis = int(call.attrs.axis) % len(value.perm)
    sections = call.attrs.indices_or_sections
    where = (
        int(sections)
        if isinstance(sections, int) or hasattr(sections, "value")
        else integers(sections)
    )
    parts = layouter.emit(relax.op.split(value.expr, where, value.perm[axis]))
    return tuple(
        _laid(layouter.emit(relax.TupleGetItem(parts, i)), value.perm)
        for i in range(len(parts.ty.fields))
    )


def strided_slice(layouter: Layouter, call: Any, var: Any) -> Any:
    """Axes mapped."""
    value = layouter.held(call.args[0])
    if value.plain:
        return None
    axes = [value.perm[axis % len(value.perm)] for axis in integers(call.args[1].fields)]
    rest = [tuple(integers(argument.fields)) for argument in call.args[2:]]
    new = relax.op.strided_slice(
        value.expr, axes, *rest, assume_inbound=bool(call.attrs.assume_inbound)
    )
    return _laid(layouter.emit(new), value.perm)


def pad(layouter: Layouter, call: Any, var: Any) -> Any:
    """Widths mapped."""
    value = layouter.held(call.args[0])
    if value.plain:
        return None
    widths = integers(call.attrs.pad_width)
    rank = len(value.perm)
    mapped = [0] * (2 * rank)
    for logical, mine in enumerate(value.perm):
        mapped[2 * mine : 2 * mine + 2] = widths[2 * logical : 2 * logical + 2]
    new = relax.op.nn.pad(value.expr, mapped, str(call.attrs.pad_mode), float(call.attrs.pad_value))
    return _laid(layouter.emit(new), value.perm)


def reduce(layouter: Layouter, call: Any, var: Any) -> Any:
    """Sum, mean, max, min, product: axes mapped, the rest keeps its order."""
    value = layouter.held(call.args[0])
    if value.plain:
        return None
    rank = len(value.perm)
    axes = call.attrs.axis
    logical = [axis % rank for axis in integers(axes)] if axes is not None else list(range(rank))
    mine = [value.perm[axis] for axis in logical]
    keep = bool(call.attrs.keepdims)
    if op_name(call) == "relax.mean" and value.perm == _channels_last(4) and sorted(mine) == [1, 2]:
        return _global_average(layouter, value, keep)
    operator = getattr(relax.op, op_name(call).rsplit(".", 1)[1])
    new = layouter.emit(operator(value.expr, mine, keep))
    if keep:
        return _laid(new, value.perm)
    left = [axis for axis in range(rank) if axis not in mine]
    return _laid(new, tuple(left.index(value.perm[a]) for a in range(rank) if a not in logical))


def _global_average(layouter: Layouter, value: Laid, keep: bool) -> Laid:
    """A mean over the image is an average pool with one window."""
    batch, height, width, channels = shape_of(value.expr)
    size = [height, width]
    new = layouter.emit(
        relax.op.nn.avg_pool2d(value.expr, size, size, layout="NHWC", out_layout="NHWC")
    )
    if keep:
        return _laid(new, value.perm)
    return _laid(layouter.reshape(new, (batch, channels)), (0, 1))


def softmax(layouter: Layouter, call: Any, var: Any) -> Any:
    """Axis mapped."""
    value = layouter.held(call.args[0])
    if value.plain:
        return None
    axis = value.perm[int(call.attrs.axis) % len(value.perm)]
    operator = getattr(relax.op.nn, op_name(call).rsplit(".", 1)[1])
    return _laid(layouter.emit(operator(value.expr, axis)), value.perm)


def quantize(layouter: Layouter, call: Any, var: Any) -> Any:
    """Axis of per-channel scales mapped."""
    value = layouter.held(call.args[0])
    if value.plain:
        return None
    scale, zero = (layouter.logical(arg) for arg in call.args[1:3])
    axis = value.perm[int(call.attrs.axis) % len(value.perm)]
    operator = getattr(relax.op, op_name(call).rsplit(".", 1)[1])
    new = operator(value.expr, scale, zero, axis, str(call.attrs.out_dtype))
    return _laid(layouter.emit(new), value.perm)


def flatten_into_matmul(layouter: Layouter, call: Any, var: Any) -> Any:
    """A flatten that only feeds constant matrices permutes their rows instead of its own bytes.

    Equation: reshape(permute(e)) @ W = reshape(e) @ W[order], exact up to the order of the sum.
    """
    value = layouter.held(call.args[0])
    if value.plain or value.perm[0] != 0:
        return None
    logical_shape = shape_of(call.args[0])
    if shape_of(call) != (logical_shape[0], prod(logical_shape[1:])):
        return None
    users = layouter.users.get(var, [])
    matrices = [user for user in users if user is not None and op_name(user) == "relax.matmul"]
    if len(matrices) != len(users) or not users:
        return None
    weights = [user.args[1] for user in matrices]
    if not all(user.args[0].same_as(var) for user in matrices):
        return None
    if not all(is_constant(item) and len(shape_of(item)) <= 2 for item in weights):
        return None
    order = np.arange(prod(logical_shape[1:])).reshape(logical_shape[1:])
    inverse = np.argsort([axis - 1 for axis in value.perm[1:]])
    rows = order.transpose(tuple(inverse)).ravel()
    flat = layouter.reshape(value.expr, shape_of(call))
    for user in matrices:
        layouter.row_order[user] = rows
    return _laid(flat, (0, 1))


def matmul(layouter: Layouter, call: Any, var: Any) -> Any:
    """Rows of a constant matrix follow a flatten that kept its bytes in place."""
    rows = layouter.row_order.get(call)
    if rows is None:
        return None
    weights = tensor_constant(constant_array(call.args[1])[rows])
    data = layouter.laid_out(layouter.held(call.args[0]), None)
    return _laid(layouter.emit(_same_op(call, [data, weights])), tuple(range(len(shape_of(call)))))


# fmt: off
_UNARY = (
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "bitwise_not", "ceil", "clip",
    "cos", "cosh", "erf", "exp", "floor", "isfinite", "isinf", "isnan", "log", "logical_not",
    "negative", "round", "rsqrt", "sigmoid", "sign", "sin", "sinh", "sqrt", "square", "tan",
    "tanh", "trunc", "astype", "nn.relu", "nn.leakyrelu", "nn.gelu", "nn.gelu_tanh", "nn.silu",
    "nn.softplus", "nn.selu",
)
# fmt: on
# fmt: off
_BINARY = (
    "add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "floor_divide",
    "floor_mod", "mod", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
    "logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_xor",
    "where",
)
# fmt: on

RULES: dict[str, Rule] = {
    **{f"relax.{name}": elementwise for name in (*_UNARY, *_BINARY)},
    "relax.permute_dims": permute,
    "relax.nn.conv2d": conv2d,
    "relax.nn.conv1d": conv1d,
    "relax.nn.conv2d_transpose": conv2d_transpose,
    "relax.nn.max_pool2d": pool2d,
    "relax.nn.avg_pool2d": pool2d,
    "relax.image.resize2d": resize2d,
    "relax.concat": concat,
    "relax.split": split,
    "relax.strided_slice": strided_slice,
    "relax.nn.pad": pad,
    **{f"relax.{name}": reduce for name in ("sum", "mean", "max", "min", "prod")},
    "relax.nn.softmax": softmax,
    "relax.nn.log_softmax": softmax,
    "relax.quantize": quantize,
    "relax.dequantize": quantize,
    "relax.reshape": flatten_into_matmul,
    "relax.matmul": matmul,
}
