"""More QDQ graphs with their integers: transposed convolutions, products, constants, averages."""

from __future__ import annotations

from math import frexp
from typing import Any

import numpy as np
from tvm import relax

from footprint_compiler.quant.fixed_point import requantize, shift_right_rounded
from tests.kernels.reference import conv2d, conv2d_transpose, wide
from tests.passes.qdq_cases import Case, Q, form_of, furthest, linear, weights

op = relax.op


def transposed(
    x: Q,
    y: Q,
    channels: int,
    out: int,
    *,
    groups: int = 1,
    kernel: tuple[int, int] = (3, 3),
    stride: tuple[int, int] = (2, 2),
    padding: tuple[int, int, int, int] = (1, 1, 1, 1),
    extra: tuple[int, int] = (0, 0),
    per_channel: bool = True,
) -> Case:
    """A transposed convolution of an NCHW image with a float bias and a Relu."""
    w = weights(channels, out // groups, *kernel, axis=1, per_channel=per_channel)
    codes = x.codes(2, channels, 5, 4)
    scale = np.tile(w.real, groups) if per_channel else w.real
    real = np.broadcast_to(
        np.random.default_rng(2).integers(-900, 900, out) * (x.real * scale), out
    )
    real = real.astype("float32")

    def make(v: Any) -> Any:
        z = op.nn.conv2d_transpose(
            x.out_of(v), w.expr, stride, padding, extra, (1, 1), groups, "NCHW", "IOHW"
        )
        return y.into(op.nn.relu(op.add(z, relax.const(real.reshape(1, out, 1, 1)))))

    nhwc = (wide(codes) - x.zero).transpose(0, 2, 3, 1)
    total = conv2d_transpose(nhwc, w.centred, stride, padding, extra, groups=groups)
    split = w.centred.reshape(groups, channels // groups, out // groups, -1)
    rows = split.transpose(0, 2, 1, 3).reshape(out, -1)
    whole = type(w)(rows, scale)
    result = linear(total, x, whole, y, real, 0, np.inf)
    return Case(make, (codes,), result.transpose(0, 3, 1, 2))


def product(a: Q, b: Q, y: Q, shapes: tuple[Any, Any], scaled: float = 1.0) -> Case:
    """A matrix product of two tensors, as attention has it: perhaps times a constant."""
    one, two = a.codes(*shapes[0], seed=5), b.codes(*shapes[1], seed=6)
    total = (wide(one) - a.zero) @ (wide(two) - b.zero)
    bound = shapes[0][-1] * furthest(a) * furthest(b)
    step = y.real / float(np.float32(scaled))
    result = y.clamp(requantize(total, form_of(a.real * b.real / step, bound), True))

    def make(v: Any, w: Any) -> Any:
        z = op.matmul(a.out_of(v), b.out_of(w))
        return y.into(z if scaled == 1.0 else op.multiply(z, relax.const(np.float32(scaled))))

    return Case(make, (one, two), result)


def affine(x: Q, y: Q, shape: tuple[int, ...], factor: Any, offset: Any) -> Case:
    """x * factor + offset with constants; a divisor where ``factor`` is of rank 0."""
    codes = x.codes(*shape)
    a, b = np.asarray(factor, "float32"), np.asarray(offset, "float32")

    def make(v: Any) -> Any:
        real = x.out_of(v)
        if a.ndim:
            real = op.multiply(relax.const(a), real)
        return y.into(op.add(real, relax.const(b)) if b.ndim else real)

    steps = a.astype("float64") * x.real / y.real
    return Case(make, (codes,), y.clamp(_affine(x, codes, [steps], b / y.real)))


def prelu(x: Q, y: Q, shape: tuple[int, ...], slope: Any) -> Case:
    """PRelu as the frontend writes it, then a clip."""
    codes = x.codes(*shape)
    a = np.asarray(slope, "float32")

    def make(v: Any) -> Any:
        real = x.out_of(v)
        below = op.less(real, relax.const(np.float32(0)))
        return y.into(op.clip(op.where(below, op.multiply(real, relax.const(a)), real), -2, 3))

    factors = [np.array(x.real / y.real), a.astype("float64") * x.real / y.real]
    return Case(make, (codes,), y.clamp(_affine(x, codes, factors, np.zeros(())), -2, 3))


def _affine(x: Q, codes: np.ndarray, factors: list[np.ndarray], offset: np.ndarray) -> np.ndarray:
    """The stated arithmetic; a second factor is for numbers below zero."""
    most = max(float(np.abs(factor).max()) for factor in factors)
    total = most * furthest(x) + float(np.abs(offset).max())
    shift = min(30 - frexp(total)[1], 30 - frexp(most)[1])
    if (furthest(x) + 1) / 2.0 ** (shift + 1) > 1 / 64:
        shift = min(61 - frexp(total)[1], 30 - frexp(most)[1], 61)
    whole = [np.rint(factor * 2.0**shift).astype(np.int64) for factor in factors]
    values = wide(codes) - x.zero
    products = values * np.where(values < 0, whole[-1], whole[0])
    return shift_right_rounded(
        products + np.rint(offset * 2.0**shift).astype(np.int64), shift, True
    )


def average_inside(
    x: Q,
    y: Q,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    *,
    ceil: bool = False,
    include: bool = False,
) -> Case:
    """An average pool of an NHWC image whose windows count different numbers of elements."""
    codes = x.codes(2, 7, 6, 5)
    top, left, bottom, right = padding
    sizes = [7 + top + bottom, 6 + left + right]
    if ceil:
        out = [-(-(size - k) // s) + 1 for size, k, s in zip(sizes, kernel, stride, strict=True)]
    else:
        out = [(size - k) // s + 1 for size, k, s in zip(sizes, kernel, stride, strict=True)]
    room = [(n - 1) * s + k for n, s, k in zip(out, stride, kernel, strict=True)]
    ends = [(top, max(bottom, room[0] - top - 7)), (left, max(right, room[1] - left - 6))]
    ones = np.ones((5, 1, *kernel), np.int64)
    image = np.pad(wide(codes) - x.zero, ((0, 0), *ends, (0, 0)))
    total = conv2d(image, ones, stride, groups=5)[:, : out[0], : out[1]]
    counted = np.zeros((1, *image.shape[1:3], 1), np.int64)
    inside = padding if include else (0, 0, 0, 0)
    rows = slice(top - inside[0], top + 7 + inside[2])
    counted[:, rows, left - inside[1] : left + 6 + inside[3]] = 1
    count = conv2d(counted, ones[:1], stride)[:, : out[0], : out[1]]
    every = np.outer(np.arange(1, kernel[0] + 1), np.arange(1, kernel[1] + 1))
    form = form_of(x.real / (y.real * every.ravel()), kernel[0] * kernel[1] * furthest(x))
    mantissas = dict(zip(every.ravel().tolist(), form.mantissa, strict=True))
    mantissa = np.vectorize(mantissas.__getitem__)(count)
    result = shift_right_rounded((total << form.left) * mantissa, form.fraction, True)

    def make(v: Any) -> Any:
        pooled = op.nn.avg_pool2d(
            x.out_of(v), kernel, stride, padding, (1, 1), ceil, include, layout="NHWC"
        )
        return y.into(pooled)

    return Case(make, (codes,), y.clamp(result))
