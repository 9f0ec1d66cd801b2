"""DFT and STFT: products with cosine and sine tables that are computed here.

X[k] = sum_n x[n] * exp(-2 pi i k n / N); the inverse has the other sign and a factor 1 / N.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tvm import te, tirx

from footprint_compiler.frontend.context import Context, Node, Refusal, Table, normalize_axis
from footprint_compiler.frontend.converters.basic import cast, scalar, widened
from footprint_compiler.frontend.converters.slicing import pad, slice_axis
from footprint_compiler.frontend.value import Value, constant


@dataclass(frozen=True)
class _Factors:
    """Cosines and sines, (outputs, inputs), with sign and scale; ``real``: the result is real."""

    cosine: Value
    sine: Value
    real: bool = False


def _factors(outputs: int, count: int, sign: float, weights: Any) -> _Factors:
    """Factors for N = count; ``weights`` scales every input."""
    inputs = np.size(weights) if np.ndim(weights) else count
    # k * n is reduced modulo N first: exact angles for any size.
    angle = 2 * np.pi * (np.outer(np.arange(outputs), np.arange(inputs)) % count) / count
    return _Factors(constant(weights * np.cos(angle)), constant(weights * sign * np.sin(angle)))


def _transform(ctx: Context, x: Value, axis: int, factors: _Factors) -> Value:
    """Complex product along ``axis``, in float64; x has a last axis of 1 (real) or 2 (complex)."""
    outputs, count = factors.cosine.shape
    is_complex = x.shape[-1] == 2
    shape = [outputs if i == axis else d for i, d in enumerate(x.shape[:-1])]
    shape.append(1 if factors.real else 2)

    def rule(a: Any, c: Any, s: Any) -> Any:
        n = te.reduce_axis((0, count), "n")

        def element(*i: Any) -> Any:
            k = i[axis]
            head = [n if m == axis else v for m, v in enumerate(i[:-1])]
            value = tirx.Cast("float64", a(*head, 0))
            cosine, sine = value * c[k, n], value * s[k, n]
            if is_complex:
                other = tirx.Cast("float64", a(*head, 1))
                cosine, sine = cosine - other * s[k, n], sine + other * c[k, n]
            return te.sum(cosine if factors.real else tirx.Select(i[-1] == 0, cosine, sine), axis=n)

        return te.compute(shape, element, name="dft")

    return cast(ctx, ctx.te(rule, x, factors.cosine, factors.sine, name="dft"), x.dtype)


def _dft(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    axis_array = node.array(2) if node.opset >= 20 else None
    default = -2 if node.opset >= 20 else 1
    given = int(node.attrs.get("axis", default)) if axis_array is None else int(axis_array.item())
    axis = normalize_axis(given, x.rank)
    inverse = bool(node.attrs.get("inverse", 0))
    onesided = bool(node.attrs.get("onesided", 0))
    if axis == x.rank - 1 or x.shape[-1] not in (1, 2) or (onesided and x.shape[-1] - 1 != inverse):
        raise Refusal("its axes are not (..., 1 or 2)", "check the model with onnx.checker")
    length = node.ints("dft_length", 1)
    if inverse and onesided:
        count = length[0] if length else 2 * (x.shape[axis] - 1)
        return _transform(ctx, _resized(ctx, x, axis, count // 2 + 1), axis, _half(count))
    count = length[0] if length else x.shape[axis]
    outputs = count // 2 + 1 if onesided else count
    sign, scale = (1.0, 1 / count) if inverse else (-1.0, 1.0)
    return _transform(
        ctx, _resized(ctx, x, axis, count), axis, _factors(outputs, count, sign, scale)
    )


def _half(count: int) -> _Factors:
    """Inverse of a one-sided spectrum: the other half is the conjugate, so it counts twice."""
    twice = np.full(count // 2 + 1, 2 / count)
    twice[0] = 1 / count
    if count % 2 == 0:
        twice[-1] = 1 / count
    return replace(_factors(count, count, 1.0, twice), real=True)


def _resized(ctx: Context, x: Value, axis: int, count: int) -> Value:
    """``x`` cut, or filled with zeros, to ``count`` along ``axis``."""
    if count < 1:
        raise Refusal(f"a length of {count}", "check dft_length")
    if count <= x.shape[axis]:
        return slice_axis(ctx, x, axis, 0, count)
    more = [count - x.shape[axis] if i == axis else 0 for i in range(x.rank)]
    return pad(ctx, x, [0] * x.rank, more, "constant", 0.0)


def _stft(ctx: Context, node: Node) -> Value:
    """Frames (batch, frames, bins, 2) of a signal (batch, samples, 1 or 2)."""
    x = node.input(0)
    step = node.ints("frame_step", 1) or [0]
    window = node.optional(2)
    length = node.ints("frame_length", 3)
    count = length[0] if length else (window.size if window is not None else 0)
    if step[0] < 1 or not 0 < count <= x.shape[1]:
        raise Refusal("its frames do not fit the signal", "check frame_step and frame_length")
    onesided = bool(node.attrs.get("onesided", 1))
    if window is None:
        window = scalar(np.ones(count), x.dtype)
    frames = (x.shape[1] - count) // step[0] + 1
    shape = (x.shape[0], frames, count, x.shape[2])

    def rule(a: Any, w: Any) -> Any:
        return te.compute(shape, lambda b, f, n, c: a(b, f * step[0] + n, c) * w[n], name="frames")

    framed = ctx.te(rule, x, window, name="frames")
    outputs = count // 2 + 1 if onesided else count
    return _transform(ctx, framed, 2, _factors(outputs, count, -1.0, 1.0))


CONVERTERS: Table = {"DFT": widened(_dft), "STFT": widened(_stft)}
