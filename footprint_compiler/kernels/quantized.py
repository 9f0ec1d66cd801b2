"""Quantized operators as tensor expressions: an integer anchor, then requantization.

All accumulate in int32, or in int64 where that could overflow, and finish with
``quant.fixed_point``'s definition. ``Output`` describes the tensor that is written:
real = scale * (q - zero_point), clamped to [low, high].
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

from tvm import te, tirx

from footprint_compiler.kernels.anchors import (
    conv2d_nhwc,
    conv2d_transpose_nhwc,
    matmul,
    sum_pool2d_nhwc,
)
from footprint_compiler.kernels.codes_x86 import SPARE
from footprint_compiler.kernels.requantize import clamped, requantized, shift_right_rounded
from footprint_compiler.kernels.stored_weights import Stored
from footprint_compiler.quant.fixed_point import FRACTION_BITS, Multiplier

ENTRY_FRACTION_BITS = 5
"""Of the entries of a table that is interpolated."""


@dataclass(frozen=True)
class Output:
    """The quantized tensor that an operator writes."""

    zero_point: int
    low: int
    high: int
    dtype: str


@dataclass(frozen=True)
class Scaling:
    """How sums become codes, besides the mantissa: see ``quant.fixed_point``.

    Attributes:
        left, fraction: of the multiplier.
        accumulator: ``int32`` or ``int64``.
        spare: every mantissa is below 2^29.
    """

    left: int = 0
    fraction: int = FRACTION_BITS
    accumulator: str = "int32"
    spare: bool = False

    @classmethod
    def of(cls, form: Multiplier) -> Scaling:
        """Of int32 sums."""
        return cls(form.left, spare=max(form.mantissa) < 1 << (FRACTION_BITS - SPARE))


def _finish(
    total: Any, bias: Any, mantissa: Any, scaling: Scaling, output: Output, to_even: bool = False
) -> Any:
    """Requantize ``total`` (..., C); ``bias`` (accumulator) and ``mantissa`` are (C,) or absent."""

    def element(*indices: Any) -> Any:
        value = total[indices]
        if bias is not None:
            value = value + bias[indices[-1]]
        factor = mantissa if isinstance(mantissa, tirx.IntImm) else mantissa[indices[-1]]
        return _codes(value, factor, scaling, output, to_even)

    return te.compute(total.shape, element, name="requantize")


def _codes(value: Any, factor: Any, scaling: Scaling, output: Output, to_even: bool) -> Any:
    return requantized(
        value,
        factor,
        scaling.left,
        output.zero_point,
        output.low,
        output.high,
        output.dtype,
        to_even,
        scaling.fraction,
        scaling.accumulator,
        scaling.spare,
    )


def quantized_conv2d(
    x: Any,
    w: Any,
    bias: Any,
    mantissa: Any,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    zero_point: int,
    scaling: Scaling,
    output: Output,
    stored: Stored | None = None,
) -> Any:
    """x (N, H, W, C), w (O, C/groups, KH, KW) of 8 or 16 bits; bias and int32 mantissa (O,)."""
    wide = scaling.accumulator
    total = conv2d_nhwc(x, w, stride, padding, dilation, groups, zero_point, wide, stored)
    return _finish(total, bias, mantissa, scaling, output)


def quantized_conv2d_transpose(
    x: Any,
    w: Any,
    bias: Any,
    mantissa: Any,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    out: list[int],
    zero_point: int,
    scaling: Scaling,
    output: Output,
) -> Any:
    """The same with w (C, O/groups, KH, KW) and a result of shape ``out``."""
    wide = scaling.accumulator
    total = conv2d_transpose_nhwc(x, w, stride, padding, dilation, groups, out, zero_point, wide)
    return _finish(total, bias, mantissa, scaling, output)


def quantized_matmul(
    a: Any,
    b: Any,
    bias: Any,
    mantissa: Any,
    zero_point: int,
    scaling: Scaling,
    output: Output,
    stored: Stored | None = None,
) -> Any:
    """a (..., K), b (K, N) with zero point 0, of 8 or 16 bits; bias and int32 mantissa (N,)."""
    total = matmul(a, b, zero_point, accumulator=scaling.accumulator, stored=stored)
    return _finish(total, bias, mantissa, scaling, output)


def quantized_product(
    a: Any,
    b: Any,
    zero_points: tuple[int, int],
    mantissa: int,
    scaling: Scaling,
    output: Output,
) -> Any:
    """a (..., M, K) x b (..., K, N), both activations; batch axes broadcast."""
    total = matmul(a, b, *zero_points, scaling.accumulator)
    return _finish(total, None, tirx.const(mantissa, "int32"), scaling, output, to_even=True)


def quantized_average(
    x: Any,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    out: list[int],
    zero_point: int,
    mantissa: int,
    scaling: Scaling,
    output: Output,
) -> Any:
    """Average over windows of one size; the count is part of the multiplier."""
    wide = scaling.accumulator
    total = sum_pool2d_nhwc(x, kernel, stride, padding, out, zero_point, wide)
    factor = tirx.const(mantissa, "int32")
    return _finish(total, None, factor, scaling, output, to_even=True)


def quantized_average_of_rest(
    x: Any,
    mantissas: Any,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    out: list[int],
    ends: tuple[int, int, int, int],
    zero_point: int,
    scaling: Scaling,
    output: Output,
) -> Any:
    """Average over the part of each window that counts.

    Args:
        mantissas: int32 (KH, KW): of the multiplier for each height and width of that part, less 1.
        ends: first row, first column, end row and end column of what counts, padding or not.
    """
    wide = scaling.accumulator
    total = sum_pool2d_nhwc(x, kernel, stride, padding, out, zero_point, wide)

    def extent(axis: int, at: Any) -> Any:
        begin = at * stride[axis] - padding[axis]
        end = tirx.min(begin + kernel[axis], ends[axis + 2])
        return tirx.max(end - tirx.max(begin, ends[axis]), 1)

    def element(n: Any, h: Any, w: Any, c: Any) -> Any:
        factor = mantissas[extent(0, h) - 1, extent(1, w) - 1]
        return _codes(total[n, h, w, c], factor, scaling, output, True)

    return te.compute(tuple(out), element, name="requantize")


def quantized_multiply(
    a: Any,
    b: Any,
    zero_points: tuple[int, int],
    mantissa: int,
    scaling: Scaling,
    output: Output,
) -> Any:
    """(a - za) * (b - zb) requantized; broadcast as in NumPy."""
    wide = scaling.accumulator

    def element(*indices: Any) -> Any:
        x = element_of(a, indices).astype(wide) - tirx.const(zero_points[0], wide)
        y = element_of(b, indices).astype(wide) - tirx.const(zero_points[1], wide)
        return _codes(x * y, tirx.const(mantissa, "int32"), scaling, output, True)

    return te.compute(joint_shape(a.shape, b.shape), element, name="multiply")


def quantized_affine(
    x: Any, factor: Any, offset: Any, zero_point: int, shift: int, output: Output, wide: str
) -> Any:
    """((x - zero_point) * factor + offset) / 2^shift to even; constants of as many axes as ``x``.

    ``factor`` is int32, ``offset`` and the sums have the dtype ``wide``.
    """

    def element(*indices: Any) -> Any:
        value = x[indices].astype(wide) - tirx.const(zero_point, wide)
        total = value * element_of(factor, indices).astype(wide) + element_of(offset, indices)
        moved = shift_right_rounded(total, shift, wide, to_even=True)
        return clamped(moved, output.zero_point, output.low, output.high, output.dtype, wide)

    return te.compute(x.shape, element, name="affine")


def quantized_prelu(
    x: Any, positive: Any, negative: Any, zero_point: int, shift: int, output: Output, wide: str
) -> Any:
    """The same without an offset; numbers below zero have a factor of their own."""

    def element(*indices: Any) -> Any:
        value = x[indices].astype(wide) - tirx.const(zero_point, wide)
        above, below = element_of(positive, indices), element_of(negative, indices)
        factor = tirx.Select(value < tirx.const(0, wide), below, above).astype(wide)
        moved = shift_right_rounded(value * factor, shift, wide, to_even=True)
        return clamped(moved, output.zero_point, output.low, output.high, output.dtype, wide)

    return te.compute(x.shape, element, name="prelu")


def quantized_weights(
    x: Any,
    places: Any,
    weights: Any,
    *rest: Any,
) -> Any:
    """Weighted neighbours along one axis or two: x and places, weights for each.

    ``rest`` is, after the tables of a second axis: the shape of the result, the axes, zero point,
    mantissa, scaling and output.
    """
    tables = [(places, weights)] + ([tuple(rest[:2])] if len(rest) == 8 else [])
    shape, axes, zero_point, mantissa, scaling, output = rest[-6:]
    wide = scaling.accumulator

    def element(*indices: Any) -> Any:
        total = tirx.const(0, wide)
        for taps in product(*(range(int(where.shape[1])) for where, _ in tables)):
            at, weight = list(indices), None
            for axis, tap, (where, factor) in zip(axes, taps, tables, strict=True):
                at[axis] = where[indices[axis], tap]
                one = factor[indices[axis], tap].astype(wide)
                weight = one if weight is None else weight * one
            value = x[tuple(at)].astype(wide) - tirx.const(zero_point, wide)
            total = total + value * weight
        return _codes(total, tirx.const(mantissa, "int32"), scaling, output, True)

    return te.compute(shape, element, name="resize")


def quantized_weights_of_two(
    x: Any,
    places: Any,
    weights: Any,
    more_places: Any,
    more_weights: Any,
    shape: tuple[int, ...],
    axes: list[int],
    zero_point: int,
    mantissa: int,
    scaling: Scaling,
    output: Output,
) -> Any:
    """``quantized_weights`` along two axes, with names for all of its arguments."""
    rest = (shape, axes, zero_point, mantissa, scaling, output)
    return quantized_weights(x, places, weights, more_places, more_weights, *rest)


def rescale(x: Any, zero_point: int, mantissa: int, scaling: Scaling, output: Output) -> Any:
    """x - zero_point requantized: the same numbers with other codes."""
    wide = scaling.accumulator

    def element(*indices: Any) -> Any:
        value = x[indices].astype(wide) - tirx.const(zero_point, wide)
        return _codes(value, tirx.const(mantissa, "int32"), scaling, output, True)

    return te.compute(x.shape, element, name="rescale")


def interpolated(x: Any, table: Any, lowest: int, bits: int, output: Output) -> Any:
    """A function of a 16-bit tensor, linear between entries that are 2^``bits`` codes apart.

    ``table`` is int32 (2^(16 - bits) + 1,): the function in steps of the output, times
    2^``ENTRY_FRACTION_BITS``, at most 2^22 in magnitude. With i = (x - lowest) >> bits and
    r = (x - lowest) mod 2^bits the result is (T[i] (2^bits - r) + T[i + 1] r) / 2^(bits +
    ENTRY_FRACTION_BITS) to the nearest integer, halves up, with the zero point, clamped.
    """
    whole = tirx.const(1 << bits, "int32")
    one = tirx.const(1, "int32")

    def element(*indices: Any) -> Any:
        place = x[indices].astype("int32") - tirx.const(lowest, "int32")
        at = tirx.shift_right(place, tirx.const(bits, "int32"))
        rest = tirx.bitwise_and(place, whole - one)
        total = table[at] * (whole - rest) + table[at + one] * rest
        code = shift_right_rounded(total, bits + ENTRY_FRACTION_BITS, "int32", to_even=False)
        return clamped(code, output.zero_point, output.low, output.high, output.dtype)

    return te.compute(x.shape, element, name="interpolated")


def lookup(x: Any, table: Any, lowest: int) -> Any:
    """table[x - lowest]: any function of one quantized tensor; ``table`` has 256 entries."""

    def element(*indices: Any) -> Any:
        place = x[indices].astype("int32") - tirx.const(lowest, "int32")
        return table[place]

    return te.compute(x.shape, element, name="lookup")


def element_of(x: Any, indices: tuple[Any, ...]) -> Any:
    """The element that meets those ``indices`` of the result; broadcast as in NumPy."""
    own = indices[len(indices) - len(x.shape) :]
    return x[tuple(0 if int(size) == 1 else at for size, at in zip(x.shape, own, strict=True))]


def joint_shape(a: Any, b: Any) -> tuple[int, ...]:
    """The shape of what two shapes broadcast to."""
    one, two = [int(e) for e in a], [int(e) for e in b]
    rank = max(len(one), len(two))
    one, two = [1] * (rank - len(one)) + one, [1] * (rank - len(two)) + two
    return tuple(max(x, y) for x, y in zip(one, two, strict=True))
