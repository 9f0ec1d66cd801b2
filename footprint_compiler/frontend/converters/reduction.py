"""Reductions over axes, ArgMax, ArgMin and cumulative sums."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from footprint_compiler.frontend.context import Context, Node, Table, normalize_axis
from footprint_compiler.frontend.converters.basic import cast, reshape, scalar, widened
from footprint_compiler.frontend.loops import T, emit_kernel, like, nest, store
from footprint_compiler.frontend.value import Value

op = relax.op


def _axes(node: Node, x: Value) -> tuple[list[int], bool]:
    axes = node.ints("axes", 1)
    keep = bool(node.attrs.get("keepdims", 1))
    if not axes:
        axes = [] if node.attrs.get("noop_with_empty_axes", 0) else list(range(x.rank))
    return sorted({normalize_axis(a, x.rank) for a in axes}), keep


def reduce(
    ctx: Context, function: Callable[..., Any], x: Value, axes: list[int], keep: bool
) -> Value:
    """``x`` reduced over ``axes``, which may be none."""
    if not axes or x.rank == 0:
        return x
    if x.is_float and function in (op.max, op.min):
        return _extreme(ctx, function is op.max, x, axes, keep)
    return ctx.op(function, x, axis=axes, keepdims=keep)


def _extreme(ctx: Context, greatest: bool, x: Value, axes: list[int], keep: bool) -> Value:
    """Maximum or minimum that starts from an infinity; Relax's starts from the largest finite
    number, and so is wrong for a row of infinities (a row that an attention mask hides)."""
    limit = float("-inf") if greatest else float("inf")
    reducer = te.comm_reducer(
        lambda a, b: tirx.max(a, b) if greatest else tirx.min(a, b),
        lambda dtype: tirx.const(limit, x.dtype),
        name="extreme",
    )
    shape = [1 if i in axes else d for i, d in enumerate(x.shape) if keep or i not in axes]

    def rule(a: Any) -> Any:
        reduced = {i: te.reduce_axis((0, x.shape[i]), f"r{i}") for i in axes}

        def element(*i: Any) -> Any:
            rest = iter(i)
            places = []
            for n in range(x.rank):
                outer = next(rest) if keep or n not in axes else None
                places.append(reduced[n] if n in axes else outer)
            return reducer(a(*places), axis=list(reduced.values()))

        return te.compute(shape, element, name="extreme")

    return ctx.te(rule, x, name="reduce_max" if greatest else "reduce_min")


def _reduce(
    function: Callable[..., Any],
    ctx: Context,
    node: Node,
    before: Callable[[Context, Value], Value] | None = None,
    after: Callable[[Context, Value], Value] | None = None,
) -> Value:
    x = node.input(0)
    axes, keep = _axes(node, x)
    dtype = x.dtype
    if dtype == "bool":
        x = cast(ctx, x, "uint8")
    if before:
        x = before(ctx, x)
    y = reduce(ctx, function, x, axes, keep)
    if after:
        y = after(ctx, y)
    return cast(ctx, y, dtype)


def _mean(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    axes, keep = _axes(node, x)
    if x.is_float:
        return reduce(ctx, op.mean, x, axes, keep)
    count = int(np.prod([x.shape[a] for a in axes], dtype=np.int64))
    total = reduce(ctx, op.sum, x, axes, keep)
    return ctx.op(op.divide, total, scalar(count, x.dtype))


def _log_sum_exp(ctx: Context, node: Node) -> Value:
    """Shifted by the maximum, so that it does not overflow; a shift of +-inf counts as 0."""
    x = node.input(0)
    axes, keep = _axes(node, x)
    if not axes:
        return x
    top = reduce(ctx, op.max, x, axes, True)
    finite = ctx.op(op.less, ctx.op(op.abs, top), scalar(np.inf, x.dtype))
    top = ctx.op(op.where, finite, top, scalar(0, x.dtype))
    total = reduce(ctx, op.sum, ctx.op(op.exp, ctx.op(op.subtract, x, top)), axes, True)
    y = ctx.op(op.add, ctx.op(op.log, total), top)
    return y if keep else reshape(ctx, y, [d for i, d in enumerate(y.shape) if i not in axes])


def _square(ctx: Context, x: Value) -> Value:
    return ctx.op(op.multiply, x, x)


def _absolute(ctx: Context, x: Value) -> Value:
    return ctx.op(op.abs, x)


def _root(ctx: Context, x: Value) -> Value:
    if x.is_float:
        return ctx.op(op.sqrt, x)
    return ctx.op(op.sqrt, cast(ctx, x, "float64"))


def _log(ctx: Context, x: Value) -> Value:
    return ctx.op(op.log, x if x.is_float else cast(ctx, x, "float64"))


def arg_reduce(greatest: bool, ctx: Context, node: Node) -> Value:
    """Index of the greatest or least element; of equal ones the first, or the last if asked."""
    x = node.input(0)
    axis = normalize_axis(int(node.attrs.get("axis", 0)), x.rank)
    last = bool(node.attrs.get("select_last_index", 0))
    outer, inner = x.shape[:axis], x.shape[axis + 1 :]
    kept = (*outer, 1, *inner)

    def body(a: Any, out: Any) -> None:
        def element(i: list[Any]) -> None:
            head, tail = i[: len(outer)], i[len(outer) :]
            place = [*head, 0, *tail]
            store(out, tirx.const(0, "int64"), place)
            with T.serial(1, x.shape[axis]) as k:
                new = a[(*head, k, *tail)]
                old = a[(*head, out[tuple(place)], *tail)]
                if last:
                    better = new >= old if greatest else new <= old
                else:
                    better = new > old if greatest else new < old
                best = tirx.Select(better, tirx.Cast("int64", k), out[tuple(place)])
                store(out, best, place)

        nest([*outer, *inner], element)

    (y,) = emit_kernel(ctx, "arg_reduce", [x], [like(kept, "int64")], body)
    return y if node.attrs.get("keepdims", 1) else reshape(ctx, y, (*outer, *inner))


def _cumulative(product: bool, ctx: Context, node: Node) -> Value:
    x = node.input(0)
    array = node.array(1)
    axis = normalize_axis(0 if array is None else int(np.ravel(array)[0]), x.rank)
    exclusive = bool(node.attrs.get("exclusive", 0))
    reverse = bool(node.attrs.get("reverse", 0))
    count = x.shape[axis]
    outer, inner = x.shape[:axis], x.shape[axis + 1 :]
    start = tirx.const(1 if product else 0, x.dtype)

    def body(a: Any, out: Any) -> None:
        def element(i: list[Any]) -> None:
            head, tail = i[: len(outer)], i[len(outer) :]

            def at(k: Any) -> list[Any]:
                return [*head, count - 1 - k if reverse else k, *tail]

            store(out, start if exclusive else a[tuple(at(0))], at(0))
            with T.serial(1, count) as k:
                before = out[tuple(at(k - 1))]
                new = a[tuple(at(k - 1 if exclusive else k))]
                store(out, before * new if product else before + new, at(k))

        nest([*outer, *inner], element)

    (y,) = emit_kernel(ctx, "cumulative", [x], [like(x.shape, x.dtype)], body)
    return y


CONVERTERS: Table = {
    "ReduceSum": widened(partial(_reduce, op.sum)),
    "ReduceMax": partial(_reduce, op.max),
    "ReduceMin": partial(_reduce, op.min),
    "ReduceProd": widened(partial(_reduce, op.prod)),
    "ReduceMean": widened(_mean),
    "ReduceL1": widened(partial(_reduce, op.sum, before=_absolute)),
    "ReduceL2": widened(partial(_reduce, op.sum, before=_square, after=_root)),
    "ReduceSumSquare": widened(partial(_reduce, op.sum, before=_square)),
    "ReduceLogSum": widened(partial(_reduce, op.sum, after=_log)),
    "ReduceLogSumExp": widened(_log_sum_exp),
    "ArgMax": partial(arg_reduce, True),
    "ArgMin": partial(arg_reduce, False),
    "CumSum": widened(partial(_cumulative, False)),
    "CumProd": widened(partial(_cumulative, True)),
}
