"""How each operator works on values that are carried in another order of axes.

A rule is ``rule(layouter, call, var) -> Laid | tuple[Laid, ...] | None``; it works in the order
that was chosen for ``var``, and None means that the operator is emitted on logical operands.
``Laid`` and the layouter are described in ``choose_layout``; a logical axis ``a`` of a value is
axis ``perm[a]`` of its expression.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from tvm import relax

from footprint_compiler.passes.layout_operators import (
    BINARY,
    REDUCTIONS,
    UNARY,
    axis_of,
    feeds_matrices,
    permutation_of,
    reduced_axes,
    reduced_order,
    taken_order,
)
from footprint_compiler.passes.layout_orders import (
    channels_last,
    identity,
    laid_shape,
    through_reshape,
)
from footprint_compiler.passes.rebuild import (
    constant_array,
    integers,
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


def _same_op(call: Any, arguments: list[Any]) -> Any:
    return relax.Call(call.op, arguments, call.attrs, call.ty_args)


def elementwise(layouter: Layouter, call: Any, var: Any) -> Any:
    """Any number of broadcast operands, all of them in the chosen order."""
    rank = len(shape_of(call))
    perm = layouter.order(var)
    if perm == identity(rank):
        return None
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
            value = _laid(expanded, identity(rank))
        arguments.append(layouter.laid_out(value, perm))
    return _laid(layouter.emit(_same_op(call, arguments)), perm)


def permute(layouter: Layouter, call: Any, var: Any) -> Any:
    """A transpose of the model composes with the permutation; nothing is emitted."""
    value = layouter.in_order(call, var)
    return replace(value, perm=tuple(value.perm[axis] for axis in permutation_of(call)))


def conv2d(layouter: Layouter, call: Any, var: Any) -> Any:
    """NCHW x OIHW -> NHWC x OIHW."""
    attrs = call.attrs
    if layouter.order(var) != channels_last(len(shape_of(call))):
        return None
    data = layouter.laid_out(layouter.held(call.args[0]), channels_last(4))
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
    return _laid(layouter.emit(new), channels_last(4))


def conv1d(layouter: Layouter, call: Any, var: Any) -> Any:
    """A convolution over a line is one over an image of height one."""
    attrs = call.attrs
    if layouter.order(var) != channels_last(len(shape_of(call))):
        return None
    data = layouter.laid_out(layouter.held(call.args[0]), channels_last(3))
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
    return _laid(layouter.reshape(new, (batch, out_width, out_channels)), channels_last(3))


def conv2d_transpose(layouter: Layouter, call: Any, var: Any) -> Any:
    """NCHW x IOHW -> NHWC x IOHW."""
    attrs = call.attrs
    if layouter.order(var) != channels_last(len(shape_of(call))):
        return None
    data = layouter.laid_out(layouter.held(call.args[0]), channels_last(4))
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
    return _laid(layouter.emit(new), channels_last(4))


def pool2d(layouter: Layouter, call: Any, var: Any) -> Any:
    """Max and average pools, NCHW -> NHWC."""
    attrs = call.attrs
    if layouter.order(var) != channels_last(len(shape_of(call))):
        return None
    data = layouter.laid_out(layouter.held(call.args[0]), channels_last(4))
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
    return _laid(layouter.emit(new), channels_last(4))


def resize2d(layouter: Layouter, call: Any, var: Any) -> Any:
    """Interpolation, NCHW -> NHWC."""
    attrs = call.attrs
    if layouter.order(var) != channels_last(len(shape_of(call))):
        return None
    data = layouter.laid_out(layouter.held(call.args[0]), channels_last(4))
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
    return _laid(layouter.emit(new), channels_last(4))


def concat(layouter: Layouter, call: Any, var: Any) -> Any:
    """All parts in the chosen order."""
    parts = [layouter.held(item) for item in call.args[0].fields]
    perm = layouter.order(var)
    axis = int(call.attrs.axis) % len(perm)
    expressions = [layouter.laid_out(part, perm) for part in parts]
    return _laid(layouter.emit(relax.op.concat(expressions, perm[axis])), perm)


def split(layouter: Layouter, call: Any, var: Any) -> Any:
    """Parts keep the order of the whole."""
    value = layouter.in_order(call, var)
    if value.plain:
        return None
    axis = axis_of(call)
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
    value = layouter.in_order(call, var)
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
    value = layouter.in_order(call, var)
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
    value = layouter.in_order(call, var)
    if value.plain:
        return None
    mine = [value.perm[axis] for axis in reduced_axes(call)]
    keep = bool(call.attrs.keepdims)
    if op_name(call) == "relax.mean" and value.perm == channels_last(4) and sorted(mine) == [1, 2]:
        return _global_average(layouter, value, keep)
    operator = getattr(relax.op, op_name(call).rsplit(".", 1)[1])
    new = layouter.emit(operator(value.expr, mine, keep))
    return _laid(new, reduced_order(call, value.perm))


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
    value = layouter.in_order(call, var)
    if value.plain:
        return None
    axis = value.perm[int(call.attrs.axis) % len(value.perm)]
    operator = getattr(relax.op.nn, op_name(call).rsplit(".", 1)[1])
    return _laid(layouter.emit(operator(value.expr, axis)), value.perm)


def quantize(layouter: Layouter, call: Any, var: Any) -> Any:
    """Axis of per-channel scales mapped."""
    value = layouter.in_order(call, var)
    if value.plain:
        return None
    scale, zero = (layouter.logical(arg) for arg in call.args[1:3])
    axis = value.perm[int(call.attrs.axis) % len(value.perm)]
    operator = getattr(relax.op, op_name(call).rsplit(".", 1)[1])
    new = operator(value.expr, scale, zero, axis, str(call.attrs.out_dtype))
    return _laid(layouter.emit(new), value.perm)


def reshape(layouter: Layouter, call: Any, var: Any) -> Any:
    """The bytes stay where they are; what that does to the axes is known or does not matter.

    A flatten that only feeds constant matrices permutes their rows instead of its own bytes:
    reshape(permute(e)) @ W = reshape(e) @ W[order], exact up to the order of the sum.
    """
    value = layouter.in_order(call, var)
    if value.plain:
        return None
    before, after = shape_of(call.args[0]), shape_of(call)
    if value.perm[0] != 0 or not feeds_matrices(var, call, layouter.users):
        perm = through_reshape(before, after, value.perm)
        assert perm is not None  # no other order is offered
        return _laid(layouter.reshape(value.expr, laid_shape(after, perm)), perm)
    order = np.arange(prod(before[1:])).reshape(before[1:])
    inverse = np.argsort([axis - 1 for axis in value.perm[1:]])
    rows = order.transpose(tuple(inverse)).ravel()
    for user in layouter.users[var]:
        layouter.row_order[user] = rows
    return _laid(layouter.reshape(value.expr, after), (0, 1))


def take(layouter: Layouter, call: Any, var: Any) -> Any:
    """Axis mapped; one index removes it, a row of them keeps it."""
    value = layouter.in_order(call, var)
    if value.plain:
        return None
    perm = taken_order(call, value.perm)
    assert perm is not None  # no other order is offered
    axis = value.perm[axis_of(call)]
    indices = layouter.logical(call.args[1])
    return _laid(layouter.emit(relax.op.take(value.expr, indices, axis, call.attrs.mode)), perm)


def matmul(layouter: Layouter, call: Any, var: Any) -> Any:
    """Rows of a constant matrix follow a flatten that kept its bytes in place."""
    rows = layouter.row_order.get(call)
    if rows is None:
        return None
    weights = tensor_constant(constant_array(call.args[1])[rows])
    data = layouter.laid_out(layouter.held(call.args[0]), None)
    return _laid(layouter.emit(_same_op(call, [data, weights])), tuple(range(len(shape_of(call)))))


RULES: dict[str, Rule] = {
    **{f"relax.{name}": elementwise for name in (*UNARY, *BINARY)},
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
    **{f"relax.{name}": reduce for name in REDUCTIONS},
    "relax.nn.softmax": softmax,
    "relax.nn.log_softmax": softmax,
    "relax.quantize": quantize,
    "relax.dequantize": quantize,
    "relax.take": take,
    "relax.reshape": reshape,
    "relax.matmul": matmul,
}
