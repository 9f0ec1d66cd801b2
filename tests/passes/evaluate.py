"""Relax in NumPy: what ``main`` of a module computes, operator by operator, in float64.

Written from the definitions and independent of every pass, so that a graph can be evaluated before
and after a rewrite in a few milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax

from tests.kernels.reference import conv2d, conv2d_transpose, pool2d, wide


def evaluate(module: Any, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The results of ``main``, a tuple flattened."""
    main = module["main"]
    values: dict[Any, Any] = dict(zip(main.params, map(_widen, inputs), strict=True))

    def value(expr: Any) -> Any:
        if isinstance(expr, tvm.ir.GenericConst):
            return _widen(expr.value.numpy())
        if isinstance(expr, relax.Tuple):
            return [value(item) for item in expr.fields]
        if isinstance(expr, relax.TupleGetItem):
            return value(expr.tuple_value)[expr.index]
        if isinstance(expr, relax.Call):
            name = expr.op.name.removeprefix("relax.").removeprefix("nn.")
            tensors = [
                a for a in expr.args if isinstance(a.ty, (relax.TensorType, relax.TupleType))
            ]
            tensors = [a for a in tensors if not _is_indices(a)]
            result = OPERATORS[name](expr, *map(value, tensors))
            _check_type(expr, result)
            return result
        return values[expr]

    for block in main.body.blocks:
        for binding in block.bindings:
            values[binding.var] = value(binding.value)
    result = value(main.body.body)
    return result if isinstance(result, list) else [result]


def count(module: Any, name: str) -> int:
    """Calls of the operator ``relax.<name>`` in ``main``."""
    bindings = [b.value for block in module["main"].body.blocks for b in block.bindings]
    wanted = f"relax.{name}"
    return sum(
        isinstance(v, relax.Call) and isinstance(v.op, tvm.ir.Op) and v.op.name == wanted
        for v in bindings
    )


def _widen(array: np.ndarray) -> np.ndarray:
    return array if array.dtype == bool else wide(array)


def _is_indices(expr: Any) -> bool:
    """Begins, ends, axes and strides of a slice: a tuple of numbers, not of tensors."""
    return isinstance(expr.ty, relax.TupleType) and not any(
        isinstance(field, relax.TensorType) for field in expr.ty.fields
    )


def _check_type(expr: Any, result: Any) -> None:
    types = expr.ty.fields if isinstance(expr.ty, relax.TupleType) else [expr.ty]
    results = result if isinstance(result, list) else [result]
    for ty, array in zip(types, results, strict=True):
        assert tuple(int(e) for e in ty.shape) == array.shape, expr


def _ints(values: Any) -> list[int]:
    return [int(getattr(value, "value", value)) for value in values]


def _shape(expr: Any) -> tuple[int, ...]:
    return tuple(int(e) for e in expr.ty.shape)


def _number(expr: Any) -> float:
    return float(getattr(expr, "value", expr))


def _four(padding: list[int]) -> tuple[int, int, int, int]:
    four = padding * 4 if len(padding) == 1 else (padding * 2 if len(padding) == 2 else padding)
    top, left, bottom, right = four
    return top, left, bottom, right


def _last(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(x, 1, -1)


def _conv2d(call: Any, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    a = call.attrs
    first = a.data_layout == "NCHW"
    stride, dilation = _ints(a.strides), _ints(a.dilation)
    result = conv2d(
        _last(x) if first else x,
        w,
        (stride[0], stride[1]),
        _four(_ints(a.padding)),
        (dilation[0], dilation[1]),
        int(a.groups),
    )
    return np.moveaxis(result, -1, 1) if first else result


def _conv2d_transpose(call: Any, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    a = call.attrs
    first = a.data_layout == "NCHW"
    stride, extra, dilation = map(_ints, (a.strides, a.output_padding, a.dilation))
    result = conv2d_transpose(
        _last(x) if first else x,
        w,
        (stride[0], stride[1]),
        _four(_ints(a.padding)),
        (extra[0], extra[1]),
        (dilation[0], dilation[1]),
        int(a.groups),
    )
    return np.moveaxis(result, -1, 1) if first else result


def _conv1d(call: Any, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    a = call.attrs
    left, right = (_ints(a.padding) * 2)[:2]
    stride, dilation = _ints(a.strides)[0], _ints(a.dilation)[0]
    image = x.transpose(0, 2, 1)[:, None]
    result = conv2d(
        image, w[:, :, None], (1, stride), (0, left, 0, right), (1, dilation), int(a.groups)
    )
    return result[:, 0].transpose(0, 2, 1)


def _pool(kind: str) -> Callable[..., np.ndarray]:
    def pool(call: Any, x: np.ndarray) -> np.ndarray:
        a = call.attrs
        first = a.layout == "NCHW"
        size, stride, dilation = _ints(a.pool_size), _ints(a.strides), _ints(a.dilation)
        result = pool2d(
            _last(x) if first else x,
            kind,
            (size[0], size[1]),
            (stride[0], stride[1]),
            _four(_ints(a.padding)),
            (dilation[0], dilation[1]),
            bool(a.ceil_mode),
            bool(a.count_include_pad),
        )
        return np.moveaxis(result, -1, 1) if first else result

    return pool


def _reduce(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    def reduce(call: Any, x: np.ndarray) -> np.ndarray:
        axis = None if call.attrs.axis is None else tuple(_ints(call.attrs.axis))
        return np.asarray(function(x, axis=axis, keepdims=bool(call.attrs.keepdims)))

    return reduce


def _softmax(call: Any, x: np.ndarray) -> np.ndarray:
    axis = int(call.attrs.axis)
    power = np.exp(x - x.max(axis, keepdims=True))
    result: np.ndarray = power / power.sum(axis, keepdims=True)
    return result


def _along(call: Any, x: np.ndarray, vector: np.ndarray) -> np.ndarray:
    if vector.ndim == 0:
        return vector
    shape = [1] * x.ndim
    shape[int(call.attrs.axis)] = -1
    return vector.reshape(shape)


def _quantize(call: Any, x: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
    limits = np.iinfo(str(call.attrs.out_dtype))
    q = np.rint(x / _along(call, x, scale)) + _along(call, x, zero)
    return np.clip(q, limits.min, limits.max).astype(np.int64)


def _dequantize(call: Any, x: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
    result: np.ndarray = (x - _along(call, x, zero)) * _along(call, x, scale)
    return result


def _slice(call: Any, x: np.ndarray) -> np.ndarray:
    axes, begin, end = (_ints(argument.fields) for argument in call.args[1:4])
    strides = _ints(call.args[4].fields) if len(call.args) > 4 else [1] * len(axes)
    index = [slice(None)] * x.ndim
    for axis, first, last, stride in zip(axes, begin, end, strides, strict=True):
        index[axis] = slice(first, last, stride)
    return x[tuple(index)]


def _split(call: Any, x: np.ndarray) -> list[np.ndarray]:
    where = call.attrs.indices_or_sections
    single = isinstance(where, int) or hasattr(where, "value")
    return list(np.split(x, int(where) if single else _ints(where), int(call.attrs.axis)))


def _pad(call: Any, x: np.ndarray) -> np.ndarray:
    flat = _ints(call.attrs.pad_width)
    widths = list(zip(flat[::2], flat[1::2], strict=True))
    if str(call.attrs.pad_mode) == "constant":
        return np.pad(x, widths, constant_values=float(call.attrs.pad_value))
    return np.pad(x, widths, mode="reflect")


def _batch_norm(call: Any, x: np.ndarray, *statistics: np.ndarray) -> list[np.ndarray]:
    shape = [1] * x.ndim
    shape[int(call.attrs.axis)] = -1
    gamma, beta, mean, variance = (s.reshape(shape) for s in statistics)
    result = (x - mean) / np.sqrt(variance + float(call.attrs.epsilon))
    result = result * gamma if call.attrs.scale else result
    result = result + beta if call.attrs.center else result
    return [result, statistics[2], statistics[3]]


def _resize(call: Any, x: np.ndarray) -> np.ndarray:
    """Nearest neighbour by whole factors."""
    first = call.attrs.layout == "NCHW"
    image = _last(x) if first else x
    target = _ints(call.args[1].values)
    factors = [size // image.shape[1 + a] for a, size in enumerate(target)]
    image = image.repeat(factors[0], 1).repeat(factors[1], 2)
    return np.moveaxis(image, -1, 1) if first else image


def _elementwise(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    return lambda call, *arrays: np.asarray(function(*arrays))


OPERATORS: dict[str, Callable[..., Any]] = {
    "conv2d": _conv2d,
    "conv1d": _conv1d,
    "conv2d_transpose": _conv2d_transpose,
    "max_pool2d": _pool("max"),
    "avg_pool2d": _pool("avg"),
    "image.resize2d": _resize,
    "sum": _reduce(np.sum),
    "mean": _reduce(np.mean),
    "max": _reduce(np.max),
    "min": _reduce(np.min),
    "prod": _reduce(np.prod),
    "softmax": _softmax,
    "log_softmax": lambda call, x: np.log(_softmax(call, x)),
    "quantize": _quantize,
    "dequantize": _dequantize,
    "matmul": lambda call, a, b: np.matmul(a, b),
    "permute_dims": lambda call, x: x.transpose(
        None if call.attrs.axes is None else _ints(call.attrs.axes)
    ),
    "reshape": lambda call, x: x.reshape(_shape(call)),
    "expand_dims": lambda call, x: x.reshape(_shape(call)),
    "squeeze": lambda call, x: x.reshape(_shape(call)),
    "strided_slice": _slice,
    "split": _split,
    "take": lambda call, x, at: np.take(x, at.astype(np.int64), int(call.attrs.axis)),
    "concat": lambda call, parts: np.concatenate(parts, int(call.attrs.axis)),
    "pad": _pad,
    "batch_norm": _batch_norm,
    "clip": lambda call, x: np.clip(x, _number(call.args[1]), _number(call.args[2])),
    "relu": lambda call, x: np.maximum(x, 0),
    "leakyrelu": lambda call, x: np.where(x > 0, x, x * float(call.attrs.alpha)),
    "sigmoid": lambda call, x: 1 / (1 + np.exp(-x)),
    "astype": lambda call, x: x.astype("float64" if "float" in str(call.ty.dtype) else "int64"),
    **{
        name: _elementwise(function)
        for name, function in {
            "add": np.add,
            "subtract": np.subtract,
            "multiply": np.multiply,
            "divide": np.divide,
            "power": np.power,
            "maximum": np.maximum,
            "minimum": np.minimum,
            "less": np.less,
            "where": np.where,
            "abs": np.abs,
            "negative": np.negative,
            "tanh": np.tanh,
            "sqrt": np.sqrt,
        }.items()
    },
}
