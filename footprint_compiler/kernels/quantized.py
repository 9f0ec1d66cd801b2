"""Quantized operators as tensor expressions: an integer anchor, then requantization.

All accumulate in int32 and finish with ``quant.fixed_point``'s definition. ``Output`` describes
the tensor that is written: real = scale * (q - zero_point), clamped to [low, high].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import te, tirx

from footprint_compiler.kernels.anchors import conv2d_nhwc, matmul, sum_pool2d_nhwc
from footprint_compiler.kernels.requantize import clamped, requantized, shift_right_rounded


@dataclass(frozen=True)
class Output:
    """The quantized tensor that an operator writes."""

    zero_point: int
    low: int
    high: int
    dtype: str


def _finish(
    total: Any, bias: Any, mantissa: Any, left: int, output: Output, to_even: bool = False
) -> Any:
    """Requantize ``total`` (..., C); ``bias`` and ``mantissa`` are int32 (C,) or absent."""

    def element(*indices: Any) -> Any:
        value = total[indices]
        if bias is not None:
            value = value + bias[indices[-1]]
        factor = mantissa if isinstance(mantissa, tirx.IntImm) else mantissa[indices[-1]]
        return requantized(
            value,
            factor,
            left,
            output.zero_point,
            output.low,
            output.high,
            output.dtype,
            to_even,
        )

    return te.compute(total.shape, element, name="requantize")


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
    left: int,
    output: Output,
) -> Any:
    """x int8 (N, H, W, C), w int8 (O, C/groups, KH, KW), bias and mantissa int32 (O,)."""
    total = conv2d_nhwc(x, w, stride, padding, dilation, groups, zero_point)
    return _finish(total, bias, mantissa, left, output)


def quantized_matmul(
    a: Any, b: Any, bias: Any, mantissa: Any, zero_point: int, left: int, output: Output
) -> Any:
    """a int8 (..., K), b int8 (K, N) with zero point 0, bias and mantissa int32 (N,)."""
    return _finish(matmul(a, b, zero_point), bias, mantissa, left, output)


def quantized_average(
    x: Any,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    out: list[int],
    zero_point: int,
    mantissa: int,
    left: int,
    output: Output,
) -> Any:
    """Average over windows that lie inside the image; the count is part of the multiplier."""
    total = sum_pool2d_nhwc(x, kernel, stride, padding, out, zero_point)
    factor = tirx.const(mantissa, "int32")
    return _finish(total, None, factor, left, output, to_even=True)


def quantized_add(
    a: Any,
    b: Any,
    zero_points: tuple[int, int],
    factors: tuple[int, int],
    shift: int,
    output: Output,
) -> Any:
    """((a - za) * fa + (b - zb) * fb) / 2^shift to even, clamped; broadcast as in NumPy.

    The factors share one shift and are below 2^20, so that the sum fits int32.
    """

    def value(x: Any, zero: int, factor: int) -> Any:
        return (x.astype("int32") - tirx.const(zero, "int32")) * tirx.const(factor, "int32")

    def element(*indices: Any) -> Any:
        left = value(_at(a, indices), zero_points[0], factors[0])
        right = value(_at(b, indices), zero_points[1], factors[1])
        total = shift_right_rounded(left + right, shift, "int32", to_even=True)
        return clamped(total, output.zero_point, output.low, output.high, output.dtype)

    return te.compute(_broadcast(a.shape, b.shape), element, name="add")


def quantized_multiply(
    a: Any, b: Any, zero_points: tuple[int, int], mantissa: int, left: int, output: Output
) -> Any:
    """(a - za) * (b - zb) requantized; broadcast as in NumPy."""

    def element(*indices: Any) -> Any:
        x = _at(a, indices).astype("int32") - tirx.const(zero_points[0], "int32")
        y = _at(b, indices).astype("int32") - tirx.const(zero_points[1], "int32")
        return requantized(
            x * y,
            tirx.const(mantissa, "int32"),
            left,
            output.zero_point,
            output.low,
            output.high,
            output.dtype,
            to_even=True,
        )

    return te.compute(_broadcast(a.shape, b.shape), element, name="multiply")


def lookup(x: Any, table: Any, lowest: int) -> Any:
    """table[x - lowest]: any function of one quantized tensor; ``table`` has 256 entries."""

    def element(*indices: Any) -> Any:
        place = x[indices].astype("int32") - tirx.const(lowest, "int32")
        return table[place]

    return te.compute(x.shape, element, name="lookup")


def _at(x: Any, indices: tuple[Any, ...]) -> Any:
    own = indices[len(indices) - len(x.shape) :]
    return x[tuple(0 if int(size) == 1 else at for size, at in zip(x.shape, own, strict=True))]


def _broadcast(a: Any, b: Any) -> tuple[int, ...]:
    one, two = [int(e) for e in a], [int(e) for e in b]
    rank = max(len(one), len(two))
    one, two = [1] * (rank - len(one)) + one, [1] * (rank - len(two)) + two
    return tuple(max(x, y) for x, y in zip(one, two, strict=True))
