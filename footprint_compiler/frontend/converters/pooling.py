"""Pooling over one, two or three spatial axes.

The common forms are Relax operators. Ceil mode that adds a window, Lp pooling, maximum with indices
and the maximum of integers other than two-dimensional images of bytes have kernels of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from footprint_compiler.frontend.context import Context, Node, Refusal, Table
from footprint_compiler.frontend.converters.basic import reshape, scalar, widened
from footprint_compiler.frontend.converters.window import Window, window_of
from footprint_compiler.frontend.loops import T, emit_kernel, like, nest, store, when
from footprint_compiler.frontend.value import Value

op = relax.op
_MAX = {1: op.nn.max_pool1d, 2: op.nn.max_pool2d, 3: op.nn.max_pool3d}
_AVERAGE = {1: op.nn.avg_pool1d, 2: op.nn.avg_pool2d, 3: op.nn.avg_pool3d}
_LAYOUT = {1: "NCW", 2: "NCHW", 3: "NCDHW"}


def _window(node: Node, x: Value) -> Window:
    kernel = [int(k) for k in node.attrs["kernel_shape"]]
    if len(kernel) != x.rank - 2:
        raise Refusal(f"kernel {kernel} for rank {x.rank}", "check the model with onnx.checker")
    return window_of(node, x.shape[2:], kernel)


def _is_plain(x: Value, window: Window) -> bool:
    """Whether Relax's operator, which rounds sizes down, gives the same windows."""
    down = [
        (n + b + e - (k - 1) * d - 1) // s + 1
        for n, b, e, k, d, s in zip(
            x.shape[2:], window.begin, window.end, window.kernel, window.dilations,
            window.strides, strict=True,
        )
    ]  # fmt: skip
    codes = x.dtype in ("int8", "uint8") and len(window.kernel) == 2
    return (x.is_float or codes) and tuple(down) == window.output and len(window.kernel) in _MAX


def _pool(table: dict[int, Any], ctx: Context, x: Value, window: Window, **attrs: Any) -> Value:
    return ctx.op(
        table[len(window.kernel)],
        x,
        pool_size=list(window.kernel),
        strides=list(window.strides),
        padding=window.padding,
        dilation=list(window.dilations),
        ceil_mode=False,
        layout=_LAYOUT[len(window.kernel)],
        **attrs,
    )


def _sum(
    ctx: Context,
    x: Value,
    window: Window,
    combine: Callable[..., Any],
    element: Callable[[Any], Any],
    outside: Any,
) -> Value:
    """``combine`` over every window of ``element(x)``, with ``outside`` in the padding."""
    spatial = len(window.kernel)

    def rule(a: Any) -> Any:
        axes = [te.reduce_axis((0, k), f"k{n}") for n, k in enumerate(window.kernel)]

        def one(*i: Any) -> Any:
            at = [
                i[2 + n] * window.strides[n] + axes[n] * window.dilations[n] - window.begin[n]
                for n in range(spatial)
            ]
            inside = [
                test for v, d in zip(at, x.shape[2:], strict=True) for test in (v >= 0, v < d)
            ]
            value = element(a(i[0], i[1], *at))
            return combine(
                tirx.if_then_else(tirx.all(*inside), value, tirx.const(outside, x.dtype)),
                axis=axes,
            )

        return te.compute((*x.shape[:2], *window.output), one, name="pool")

    return ctx.te(rule, x, name="pool")


def _counts(x: Value, window: Window, include_padding: bool) -> np.ndarray:
    """Elements per window (1, 1, *output): of the input, or of the input and its padding."""
    count = np.ones((1, 1, *window.output))
    for n, size in enumerate(window.output):
        low = 0 if include_padding else window.begin[n]
        high = x.shape[2 + n] + window.begin[n] + (window.end[n] if include_padding else 0)
        taps = np.arange(window.kernel[n]) * window.dilations[n]
        places = np.arange(size)[:, None] * window.strides[n] + taps
        inside = ((places >= low) & (places < high)).sum(1)
        count *= inside.reshape([-1 if m == n + 2 else 1 for m in range(x.rank)])
    return np.maximum(count, 1)


def _average(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    window = _window(node, x)
    include = bool(node.attrs.get("count_include_pad", 0))
    if _is_plain(x, window) and set(window.dilations) == {1}:
        return _pool(_AVERAGE, ctx, x, window, count_include_pad=include)
    total = _sum(ctx, x, window, te.sum, lambda v: v, 0)
    counts = scalar(_counts(x, window, include), x.dtype)
    return ctx.op(op.divide, total, counts)


def _max(ctx: Context, node: Node) -> Value | tuple[Value, ...]:
    x = node.input(0)
    window = _window(node, x)
    if len(node.outputs) > 1 and node.outputs[1]:
        return _max_with_indices(ctx, x, window, bool(node.attrs.get("storage_order", 0)))
    if _is_plain(x, window):
        return _pool(_MAX, ctx, x, window)
    lowest = _lowest(x.dtype)
    largest = te.comm_reducer(
        lambda a, b: tirx.max(a, b), lambda dtype: tirx.const(lowest, x.dtype), name="largest"
    )
    return _sum(ctx, x, window, largest, lambda v: v, lowest)


def _lowest(dtype: str) -> Any:
    return float("-inf") if dtype.startswith("float") else int(np.iinfo(dtype).min)


def _max_with_indices(
    ctx: Context, x: Value, window: Window, column_major: bool
) -> tuple[Value, ...]:
    """Indices count all elements of x; with storage_order 1 the last two axes are exchanged."""
    spatial = len(window.kernel)
    sizes = x.shape[2:]
    strides = [int(np.prod(sizes[n + 1 :], dtype=np.int64)) for n in range(spatial)]
    if column_major:
        strides = [int(np.prod(sizes[:n], dtype=np.int64)) for n in range(spatial)]
    plane = int(np.prod(sizes, dtype=np.int64))
    shape = (*x.shape[:2], *window.output)

    def body(a: Any, values: Any, places: Any) -> None:
        def one(i: list[Any]) -> None:
            store(values, tirx.const(_lowest(x.dtype), x.dtype), i)
            store(places, tirx.const(-1, "int64"), i)

            def tap(k: list[Any]) -> None:
                at = [
                    i[2 + n] * window.strides[n] + k[n] * window.dilations[n] - window.begin[n]
                    for n in range(spatial)
                ]
                inside = [t for v, d in zip(at, sizes, strict=True) for t in (v >= 0, v < d)]

                def compare() -> None:
                    new = a[(i[0], i[1], *at)]
                    place = (i[0] * x.shape[1] + i[1]) * plane
                    for v, stride in zip(at, strides, strict=True):
                        place = place + v * stride

                    def keep() -> None:
                        store(values, new, i)
                        store(places, tirx.Cast("int64", place), i)

                    old = places[tuple(i)] < tirx.const(0, "int64")
                    when(tirx.any(new > values[tuple(i)], old), keep)

                when(tirx.all(*inside), compare)

            nest(window.kernel, tap)

        nest(shape, one)

    return emit_kernel(ctx, "max_pool", [x], [like(shape, x.dtype), like(shape, "int64")], body)


def _lp(ctx: Context, node: Node) -> Value:
    """(sum of |x|^p) ^ (1/p) over every window."""
    x, p = node.input(0), int(node.attrs.get("p", 2))
    window = _window(node, x)
    total = _sum(ctx, x, window, te.sum, lambda v: _power(v, p, x.dtype), 0)
    return _root(ctx, total, p)


def _power(v: Any, p: int, dtype: str) -> Any:
    if p == 1:
        return te.abs(v)
    return v * v if p == 2 else te.power(te.abs(v), tirx.const(p, dtype))


def _root(ctx: Context, x: Value, p: int) -> Value:
    if p == 1:
        return x
    return ctx.op(op.sqrt, x) if p == 2 else ctx.op(op.power, x, scalar(1 / p, x.dtype))


def _global(function: Callable[..., Any], ctx: Context, node: Node) -> Value:
    x = node.input(0)
    return ctx.op(function, x, axis=list(range(2, x.rank)), keepdims=True)


def _global_lp(ctx: Context, node: Node) -> Value:
    x, p = node.input(0), int(node.attrs.get("p", 2))
    y = ctx.op(op.abs, x)
    if p != 1:
        y = ctx.op(op.power, y, scalar(p, x.dtype)) if p != 2 else ctx.op(op.multiply, y, y)
    return _root(ctx, ctx.op(op.sum, y, axis=list(range(2, x.rank)), keepdims=True), p)


def _max_unpool(ctx: Context, node: Node) -> Value:
    """Zeros, with each value of x at the place its index names in the output."""
    x, indices = node.input(0), node.input(1)
    kernel = [int(k) for k in node.attrs["kernel_shape"]]
    strides = [int(s) for s in node.attrs.get("strides", [1] * len(kernel))]
    pads = [int(p) for p in node.attrs.get("pads", [0] * (2 * len(kernel)))]
    given = node.ints("output_shape", 2)
    inferred = [
        (d - 1) * s + k - b - e
        for d, s, k, b, e in zip(
            x.shape[2:], strides, kernel, pads[: len(kernel)], pads[len(kernel) :], strict=True
        )
    ]
    shape = (*x.shape[:2], *inferred)
    plane, wanted = int(np.prod(shape)), tuple(given) if given else shape

    def body(a: Any, b: Any, out: Any) -> None:
        with T.serial(0, int(np.prod(wanted))) as n:
            store(out, tirx.const(0, x.dtype), [n])

        def one(i: list[Any]) -> None:
            place = tirx.max(tirx.min(b[tuple(i)], plane - 1), 0)
            target = place
            if wanted != shape:  # indices count in the inferred shape
                target, rest = tirx.const(0, "int64"), place
                for d, w in zip(reversed(shape), _strides(wanted)[::-1], strict=True):
                    target, rest = target + tirx.floormod(rest, d) * w, tirx.floordiv(rest, d)
            store(out, a[tuple(i)], [target])

        nest(x.shape, one)

    flat = like((int(np.prod(wanted)),), x.dtype)
    (y,) = emit_kernel(ctx, "max_unpool", [x, indices], [flat], body)
    return reshape(ctx, y, wanted)


def _strides(shape: tuple[int, ...]) -> list[int]:
    return [int(np.prod(shape[n + 1 :], dtype=np.int64)) for n in range(len(shape))]


CONVERTERS: Table = {
    "AveragePool": widened(_average),
    "GlobalAveragePool": widened(partial(_global, op.mean)),
    "GlobalLpPool": widened(_global_lp),
    "GlobalMaxPool": partial(_global, op.max),
    "LpPool": widened(_lp),
    "MaxPool": _max,
    "MaxUnpool": _max_unpool,
}
