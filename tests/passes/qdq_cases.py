"""QDQ graphs with the integers that they must become, from the equation of ``lower-qdq`` alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax

from footprint_compiler.quant.fixed_point import (
    Multiplier,
    fixed_point,
    requantize,
    saturate,
    shift_right_rounded,
    wide_fixed_point,
)
from tests.kernels.reference import conv2d, pool2d, wide

op = relax.op
LIMITS = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "uint16": (0, 65535),
}


@dataclass(frozen=True)
class Q:
    """Scale, zero point and dtype of a quantized tensor."""

    scale: float
    zero: int
    dtype: str = "int8"

    @property
    def real(self) -> float:
        """The scale as the graph has it, in float32."""
        return float(np.float32(self.scale))

    def into(self, expr: Any) -> Any:
        """QuantizeLinear."""
        return op.quantize(expr, *self._parameters(), -1, self.dtype)

    def out_of(self, expr: Any) -> Any:
        """DequantizeLinear."""
        return op.dequantize(expr, *self._parameters(), -1, "float32")

    def _parameters(self) -> tuple[Any, Any]:
        return relax.const(np.float32(self.scale)), relax.const(self.zero, self.dtype)

    def codes(self, *shape: int, seed: int = 1) -> np.ndarray:
        """Seeded codes, the extreme ones and the zero point among them."""
        low, high = LIMITS[self.dtype]
        values = np.random.default_rng(seed).integers(low, high + 1, shape)
        values.flat[::7] = self.zero
        values.flat[1::11] = low
        values.flat[2::11] = high
        return values.astype(self.dtype)

    def clamp(self, values: np.ndarray, low: float = -np.inf, high: float = np.inf) -> np.ndarray:
        """Add the zero point; saturate to the dtype and to the codes of two real numbers."""
        bottom, top = LIMITS[self.dtype]
        if np.isfinite(low):
            bottom = max(bottom, round(low / self.real) + self.zero)
        if np.isfinite(high):
            top = min(top, round(high / self.real) + self.zero)
        return saturate(values, self.zero, bottom, top).astype(self.dtype)


@dataclass(frozen=True)
class Case:
    """``make(*variables)`` over ``inputs`` must give ``expected``, bit for bit."""

    make: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]
    expected: np.ndarray


@dataclass(frozen=True)
class Weights:
    """Constant weights: codes, one scale for each entry of ``axis`` (or one), a zero point."""

    codes: np.ndarray
    scale: np.ndarray
    zero: int = 0
    axis: int = 0

    @property
    def expr(self) -> Any:
        """DequantizeLinear of the constant."""
        dtype = str(self.codes.dtype)
        zero = np.full(self.scale.shape, self.zero, dtype)
        scale = relax.const(self.scale.astype("float32"))
        array = relax.const(self.codes, dtype)
        return op.dequantize(array, scale, relax.const(zero, dtype), self.axis, "float32")

    @property
    def centred(self) -> np.ndarray:
        return wide(self.codes) - self.zero

    @property
    def real(self) -> np.ndarray:
        return self.scale.astype("float32").astype("float64")


def weights(
    *shape: int,
    per_channel: bool = True,
    axis: int = 0,
    dtype: str = "int8",
    zero: int = 0,
    bits: int = 8,
) -> Weights:
    """Seeded; of 4 bits they are within [zero - 8, zero + 7]."""
    rng = np.random.default_rng(sum(shape))
    low, high = LIMITS[dtype]
    usual = zero == 128 or not zero  # else the whole range, so that differences need nine bits
    first, last = (max(low, zero - 127), min(high, zero + 127)) if usual else (low, high)
    if bits == 4:
        first, last = zero - 8, zero + 7
    codes = rng.integers(first, last + 1, shape).astype(dtype)
    scale = rng.uniform(0.001, 0.02, shape[axis]) if per_channel else np.array(0.007)
    return Weights(codes, scale, zero, axis)


def form_of(multipliers: float | np.ndarray, bound: float) -> Multiplier:
    """int32 accumulators where ``bound`` fits 30 bits after the shift, else int64."""
    values = np.asarray(multipliers)
    if values.max() < 2**15:
        form = fixed_point(values)
        if bound * 2**form.left < 2**30:
            return form
    return wide_fixed_point(values, int(np.ceil(bound)))


def furthest(x: Q) -> int:
    """The largest magnitude of a code less the zero point."""
    return max(abs(limit - x.zero) for limit in LIMITS[x.dtype])


def linear(
    total: np.ndarray,
    x: Q,
    w: Weights,
    y: Q,
    bias: np.ndarray | None,
    low: float,
    high: float,
    channel: int = 0,
) -> np.ndarray:
    """The stated arithmetic; ``total`` has the channel last, the weights at axis ``channel``."""
    scale = x.real * w.real
    codes = np.zeros(1, np.int64)
    if bias is not None:
        codes = np.rint(bias.astype("float64") / scale).astype(np.int64)
    rows = np.moveaxis(w.centred, channel, 0).reshape(w.centred.shape[channel], -1)
    ends = [max(limit - x.zero, 0) for limit in LIMITS[x.dtype][1:]]
    ends += [min(limit - x.zero, 0) for limit in LIMITS[x.dtype][:1]]
    up, down = np.maximum(rows, 0).sum(1), np.minimum(rows, 0).sum(1)
    most = np.maximum(up * ends[0] + down * ends[1], -up * ends[1] - down * ends[0])
    form = form_of(scale / y.real, float((most + np.abs(codes)).max()))
    return y.clamp(requantize(total + codes, form), low, high)


def conv(
    x: Q,
    y: Q,
    channels: int,
    out: int,
    *,
    groups: int = 1,
    kernel: tuple[int, int] = (3, 3),
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (1, 1, 1, 1),
    dilation: tuple[int, int] = (1, 1),
    image: tuple[int, int] = (5, 6),
    per_channel: bool = True,
    bias: str = "quantized",
    clamp: tuple[float, float] | None = None,
    weight_dtype: str = "int8",
    weight_zero: int | None = None,
    bits: int = 8,
    framed: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> Case:
    """A convolution of an NCHW image, with its bias and its activation function.

    ``framed``: what of its padding a Pad before it adds (top, left, bottom, right).
    """
    zero = 128 if weight_dtype == "uint8" else 0
    zero = zero if weight_zero is None else weight_zero
    shape = (out, channels // groups, *kernel)
    w = weights(*shape, per_channel=per_channel, dtype=weight_dtype, zero=zero, bits=bits)
    codes = x.codes(2, channels, *image)
    b = np.random.default_rng(out).integers(-900, 900, out)
    real = (b * (x.real * w.real)).astype("float32")

    def make(v: Any) -> Any:
        source, (top, left, bottom, right) = x.out_of(v), framed
        if any(framed):
            source = op.nn.pad(source, [0, 0, 0, 0, top, bottom, left, right])
            source = x.out_of(x.into(source))
        own = [one - other for one, other in zip(padding, framed, strict=True)]
        z = op.nn.conv2d(source, w.expr, stride, own, dilation, groups)
        if bias == "quantized":
            scale = np.broadcast_to(x.real * w.real, (out,)).astype("float32")
            zeros = relax.const(np.zeros(out, "int32"))
            term = op.dequantize(relax.const(b.astype("int32")), relax.const(scale), zeros, 0)
            z = op.add(z, op.reshape(term, (1, out, 1, 1)))
        elif bias == "float":
            z = op.add(relax.const(real.reshape(1, out, 1, 1)), z)
        if clamp == (0, np.inf):
            z = op.nn.relu(z)
        elif clamp is not None:
            z = op.clip(z, *clamp)
        return y.into(z)

    nhwc = (wide(codes) - x.zero).transpose(0, 2, 3, 1)
    total = conv2d(nhwc, w.centred, stride, padding, dilation, groups)
    low, high = clamp or (-np.inf, np.inf)
    result = linear(total, x, w, y, None if bias == "none" else real, low, high)
    return Case(make, (codes,), result.transpose(0, 3, 1, 2))


def dense(
    x: Q,
    y: Q,
    shape: tuple[int, ...],
    out: int,
    *,
    per_channel: bool = True,
    transposed: bool = False,
    bias: bool = True,
    weight_dtype: str = "int8",
    relu: bool = False,
    bits: int = 8,
) -> Case:
    """A matrix product with constant weights."""
    depth, zero = shape[-1], 128 if weight_dtype == "uint8" else 0
    size, axis = ((out, depth), 0) if transposed else ((depth, out), 1)
    w = weights(*size, per_channel=per_channel, axis=axis, dtype=weight_dtype, zero=zero, bits=bits)
    codes = x.codes(*shape)
    real = np.random.default_rng(out).uniform(-3, 3, out).astype("float32")

    def make(v: Any) -> Any:
        matrix = op.permute_dims(w.expr) if transposed else w.expr
        z = op.matmul(x.out_of(v), matrix)
        z = op.add(z, relax.const(real)) if bias else z
        return y.into(op.nn.relu(z) if relu else z)

    matrix = w.centred.T if transposed else w.centred
    total = (wide(codes) - x.zero) @ matrix
    low = 0 if relu else -np.inf
    return Case(
        make,
        (codes,),
        linear(total, x, w, y, real if bias else None, low, np.inf, int(not transposed)),
    )


def pair(a: Q, b: Q, y: Q, kind: str, shapes: tuple[Any, Any], *, constant: bool = False) -> Case:
    """add, subtract or multiply, with broadcasting; the second operand may be a constant."""
    one, two = a.codes(*shapes[0], seed=5), b.codes(*shapes[1], seed=6)
    two.flat[0] = 77  # not the zero point: it may be all there is
    function = getattr(op, kind)

    def make(v: Any, *rest: Any) -> Any:
        second = relax.const(two, b.dtype) if constant else rest[0]
        return y.into(function(a.out_of(v), b.out_of(second)))

    left, right = wide(one) - a.zero, wide(two) - b.zero
    if kind == "multiply":
        form = form_of(a.real * b.real / y.real, furthest(a) * furthest(b))
        result = requantize(left * right, form, True)
    else:
        ratios = a.real / y.real, b.real / y.real
        exponent = int(np.ceil(np.log2(max(ratios))))
        narrow = "16" not in a.dtype + b.dtype and exponent < 10
        shift = min(24, 19 - exponent) if narrow else min(44, 30 - exponent)
        factors = [round(ratio * 2**shift) for ratio in ratios]
        sign = -1 if kind == "subtract" else 1
        total = left * factors[0] + sign * right * factors[1]
        assert np.abs(total).max() < (2**30 if narrow else 2**49)
        result = shift_right_rounded(total, shift, True)
    return Case(make, (one,) if constant else (one, two), y.clamp(result))


def average(
    x: Q, y: Q, kernel: tuple[int, int], stride: tuple[int, int], channels: int, pad: int = 0
) -> Case:
    """An average pool of an NCHW image; padding counts."""
    codes = x.codes(2, channels, 7, 6)
    nhwc = (wide(codes) - x.zero).transpose(0, 2, 3, 1)
    ones = np.ones((channels, 1, *kernel), np.int64)
    total = conv2d(nhwc, ones, stride, (pad,) * 4, groups=channels)
    size = kernel[0] * kernel[1]
    form = form_of(x.real / (y.real * size), size * furthest(x))
    result = y.clamp(requantize(total, form, True)).transpose(0, 3, 1, 2)

    def make(v: Any) -> Any:
        pooled = op.nn.avg_pool2d(x.out_of(v), kernel, stride, pad, count_include_pad=True)
        return y.into(pooled)

    return Case(make, (codes,), result)


def mean(x: Q, y: Q, shape: tuple[int, ...], axes: tuple[int, ...], keep: bool) -> Case:
    codes = x.codes(*shape)
    total = (wide(codes) - x.zero).sum(axes, keepdims=keep)
    count = int(np.prod([shape[axis] for axis in axes]))
    form = form_of(x.real / (y.real * count), count * furthest(x))
    result = y.clamp(requantize(total, form, True)).reshape(total.shape)
    return Case(lambda v: y.into(op.mean(x.out_of(v), list(axes), keep)), (codes,), result)


def recoded(x: Q, y: Q, codes: np.ndarray, low: float = -np.inf) -> np.ndarray:
    """The codes of ``y`` for the numbers of ``x``."""
    if (x.real, x.zero, x.dtype, low) == (y.real, y.zero, y.dtype, -np.inf):
        return codes
    if "16" in x.dtype:
        values = requantize(wide(codes) - x.zero, form_of(x.real / y.real, furthest(x)), True)
        return y.clamp(values, low)
    real = (wide(codes) - x.zero).astype(np.float32) * np.float32(x.scale)
    return y.clamp(np.rint(real / np.float32(y.scale)).astype(np.int64), low)


def max_pool(
    x: Q, padding: tuple[int, int, int, int], stride: tuple[int, int], y: Q | None = None
) -> Case:
    """Some windows hold the least code only, and padding must not win over it; Relu if ``y``."""
    codes = x.codes(1, 9, 7, 6)
    codes[:, :, :4, :4] = LIMITS[x.dtype][0]
    image = codes.transpose(0, 2, 3, 1)
    result = pool2d(image, "max", (3, 3), stride, padding).transpose(0, 3, 1, 2)

    def make(v: Any) -> Any:
        pooled = op.nn.max_pool2d(x.out_of(v), (3, 3), stride, padding)
        return x.into(pooled) if y is None else y.into(op.nn.relu(pooled))

    result = result.astype(x.dtype)
    return Case(make, (codes,), result if y is None else recoded(x, y, result, 0))


def moved(x: Q, shape: tuple[int, ...], move: Any, expected: Any, y: Q | None = None) -> Case:
    """``move`` of real numbers, which is ``expected`` of the codes."""
    codes, y = x.codes(*shape), y or x
    return Case(lambda v: y.into(move(x.out_of(v))), (codes,), recoded(x, y, expected(codes)))


def concat(parts: tuple[Q, Q, Q], y: Q) -> Case:
    """Three parts of different widths."""
    codes = [q.codes(1, 2 * i * i + 1, 4, 5, seed=i) for i, q in enumerate(parts)]

    def make(*values: Any) -> Any:
        return y.into(op.concat([q.out_of(v) for q, v in zip(parts, values, strict=True)], 1))

    expected = [recoded(q, y, part) for q, part in zip(parts, codes, strict=True)]
    return Case(make, tuple(codes), np.concatenate(expected, 1))
