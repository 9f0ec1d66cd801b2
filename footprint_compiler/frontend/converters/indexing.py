"""Gather, scatter, OneHot and TopK.

Indices computed on the device are wrapped and then clamped, so that wrong ones never read or write
outside a tensor. Constant indices out of range are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from footprint_compiler.frontend.context import Context, Node, Refusal, Table, normalize_axis
from footprint_compiler.frontend.converters.basic import reshape
from footprint_compiler.frontend.converters.slicing import slice_axis
from footprint_compiler.frontend.loops import T, emit_kernel, like, nest, store, when
from footprint_compiler.frontend.value import Value, constant

op = relax.op


def bounded(value: Value, size: int) -> Value:
    """Constant indices made non-negative; refused when out of range."""
    if value.array is None:
        return value
    array = value.array.astype("int64")
    array = np.where(array < 0, array + size, array)
    if array.size and (array.min() < 0 or array.max() >= size):
        raise Refusal(f"an index is outside an axis of {size}", "check the bound shapes")
    return constant(array)


def wrapped(index: Any, size: int) -> Any:
    """A TIR index made non-negative and clamped to its axis."""
    at = tirx.Cast("int64", index)
    at = tirx.Select(at < 0, at + size, at)
    return tirx.max(tirx.min(at, size - 1), 0)


def _gather(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    axis = normalize_axis(int(node.attrs.get("axis", 0)), x.rank)
    indices = bounded(node.input(1), x.shape[axis])
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    if indices.array is not None:
        flat = [int(v) for v in indices.array.ravel()]
        step = flat[1] - flat[0] if len(flat) > 1 else 1
        if step > 0 and flat == [flat[0] + step * i for i in range(len(flat))]:
            part = slice_axis(ctx, x, axis, flat[0], flat[-1] + 1, step)
            return reshape(ctx, part, shape)
        return reshape(
            ctx, ctx.op(op.take, x, constant(flat, "int64"), axis=axis, mode="clip"), shape
        )
    rank = indices.rank

    def rule(a: Any, b: Any) -> Any:
        def element(*i: Any) -> Any:
            picked = b(*i[axis : axis + rank])
            return a(*i[:axis], wrapped(picked, x.shape[axis]), *i[axis + rank :])

        return te.compute(shape, element, name="gather")

    return ctx.te(rule, x, indices, name="gather")


def _gather_elements(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    axis = normalize_axis(int(node.attrs.get("axis", 0)), x.rank)
    indices = bounded(node.input(1), x.shape[axis])

    def rule(a: Any, b: Any) -> Any:
        def element(*i: Any) -> Any:
            return a(*i[:axis], wrapped(b(*i), x.shape[axis]), *i[axis + 1 :])

        return te.compute(indices.shape, element, name="gather_elements")

    return ctx.te(rule, x, indices, name="gather_elements")


def _gather_nd(ctx: Context, node: Node) -> Value:
    x, indices = node.input(0), node.input(1)
    batch = int(node.attrs.get("batch_dims", 0))
    depth = indices.shape[-1]
    lead = indices.shape[:-1]
    shape = (*lead, *x.shape[batch + depth :])

    def rule(a: Any, b: Any) -> Any:
        def element(*i: Any) -> Any:
            at = i[: len(lead)]
            picked = [wrapped(b(*at, k), x.shape[batch + k]) for k in range(depth)]
            return a(*i[:batch], *picked, *i[len(lead) :])

        return te.compute(shape, element, name="gather_nd")

    return ctx.te(rule, x, indices, name="gather_nd")


def _combine(kind: str, old: Any, new: Any) -> Any:
    if kind == "none":
        return new
    if kind == "add":
        return old + new
    if kind == "mul":
        return old * new
    if kind == "max":
        return tirx.max(old, new)
    if kind == "min":
        return tirx.min(old, new)
    raise Refusal(f"reduction {kind} is unknown", "use none, add, mul, max or min")


def _scatter_elements(ctx: Context, node: Node) -> Value:
    x, updates = node.input(0), node.input(2)
    axis = normalize_axis(int(node.attrs.get("axis", 0)), x.rank)
    indices = bounded(node.input(1), x.shape[axis])
    kind = str(node.attrs.get("reduction", "none"))

    def body(a: Any, b: Any, c: Any, out: Any) -> None:
        nest(x.shape, lambda i: store(out, a[tuple(i)], i))

        def update(i: list[Any]) -> None:
            place = [*i[:axis], wrapped(b[tuple(i)], x.shape[axis]), *i[axis + 1 :]]
            store(out, _combine(kind, out[tuple(place)], c[tuple(i)]), place)

        nest(updates.shape, update)

    return _scatter(ctx, [x, indices, updates], body)


def _scatter_nd(ctx: Context, node: Node) -> Value:
    x, indices, updates = node.input(0), node.input(1), node.input(2)
    kind = str(node.attrs.get("reduction", "none"))
    depth = indices.shape[-1]
    lead = indices.rank - 1
    if indices.array is not None:
        limits = np.asarray(x.shape[:depth], dtype="int64")
        array = indices.array + np.where(indices.array < 0, limits, 0)
        if array.size and ((array < 0) | (array >= limits)).any():
            raise Refusal("an index is out of range", "check the bound shapes")
        region = _box(array, x.shape, depth) if kind == "none" else None
        if region is not None:
            return _replace_box(ctx, x, updates, region)

    def body(a: Any, b: Any, c: Any, out: Any) -> None:
        nest(x.shape, lambda i: store(out, a[tuple(i)], i))

        def update(i: list[Any]) -> None:
            at = [wrapped(b[(*i[:lead], k)], x.shape[k]) for k in range(depth)]
            place = [*at, *i[lead:]]
            store(out, _combine(kind, out[tuple(place)], c[tuple(i)]), place)

        nest(updates.shape, update)

    return _scatter(ctx, [x, indices, updates], body)


def _box(array: np.ndarray, shape: Sequence[int], depth: int) -> list[tuple[int, int]] | None:
    """Begin and end per axis when the indices enumerate a box in row-major order."""
    flat = array.reshape(-1, depth)
    if flat.shape[0] == 0:
        return None
    low, high = flat.min(0), flat.max(0) + 1
    grid = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), -1).reshape(-1, depth)
    if grid.shape != flat.shape or not (grid == flat).all():
        return None
    box = [(int(b), int(e)) for b, e in zip(low, high, strict=True)]
    return box + [(0, d) for d in shape[depth:]]


def _replace_box(ctx: Context, x: Value, updates: Value, box: list[tuple[int, int]]) -> Value:
    """``x`` with one box replaced: an elementwise kernel, without indices."""
    size = [e - b for b, e in box]
    new = reshape(ctx, updates, size)
    if size == list(x.shape):
        return new

    def rule(a: Any, b: Any) -> Any:
        def element(*i: Any) -> Any:
            inside = [
                test
                for v, (begin, end), d in zip(i, box, x.shape, strict=True)
                for test in (v >= begin, v < end)
                if (begin, end) != (0, d)
            ]
            at = [v - begin for v, (begin, _) in zip(i, box, strict=True)]
            return tirx.if_then_else(tirx.all(*inside), b(*at), a(*i))

        return te.compute(x.shape, element, name="replace_box")

    return ctx.te(rule, x, new, name="replace_box")


def _scatter(ctx: Context, inputs: list[Value], body: Any) -> Value:
    (y,) = emit_kernel(ctx, "scatter", inputs, [like(inputs[0].shape, inputs[0].dtype)], body)
    return y


def _one_hot(ctx: Context, node: Node) -> Value:
    indices, values = node.input(0), node.input(2)
    array = node.array(1)
    depth = int(np.ravel(array)[0]) if array is not None else 0
    axis = normalize_axis(int(node.attrs.get("axis", -1)), indices.rank + 1)
    shape = (*indices.shape[:axis], depth, *indices.shape[axis:])

    def rule(a: Any, v: Any) -> Any:
        def element(*i: Any) -> Any:
            picked = tirx.Cast("int64", a(*i[:axis], *i[axis + 1 :]))
            picked = tirx.Select(picked < 0, picked + depth, picked)
            return tirx.if_then_else(picked == tirx.Cast("int64", i[axis]), v(1), v(0))

        return te.compute(shape, element, name="one_hot")

    return ctx.te(rule, indices, values, name="one_hot")


def _top_k(ctx: Context, node: Node) -> tuple[Value, ...]:
    """By selection: the next element is the best of those after the one before, in the order
    (value, then index), so no scratch is needed and ties keep the lower index first."""
    x = node.input(0)
    axis = normalize_axis(int(node.attrs.get("axis", -1)), x.rank)
    wanted = node.ints("k", 1) or [0]
    k, count = wanted[0], x.shape[axis]
    if not 0 < k <= count:
        raise Refusal(f"k={k} of {count} elements", "choose k within the axis")
    largest = bool(node.attrs.get("largest", 1))
    outer, inner = x.shape[:axis], x.shape[axis + 1 :]
    shape = (*outer, k, *inner)

    def body(a: Any, values: Any, places: Any) -> None:
        def row(i: list[Any]) -> None:
            head, tail = i[: len(outer)], i[len(outer) :]

            def at(n: Any) -> list[Any]:
                return [*head, n, *tail]

            def before(v: Any, p: Any, w: Any, q: Any) -> Any:
                """Whether (v, p) comes strictly before (w, q)."""
                return tirx.any(v > w if largest else v < w, tirx.all(v == w, p < q))

            with T.serial(0, k) as n:
                store(places, tirx.const(-1, "int64"), at(n))
                with T.serial(0, count) as m:
                    value, place = a[tuple(at(m))], tirx.Cast("int64", m)
                    last = tirx.max(n - 1, 0)
                    free = tirx.any(
                        n == 0,
                        before(values[tuple(at(last))], places[tuple(at(last))], value, place),
                    )
                    best = places[tuple(at(n))]
                    better = tirx.any(
                        best < 0, before(value, place, a[tuple(at(tirx.max(best, 0)))], best)
                    )
                    when(tirx.all(free, better), lambda: store(places, place, at(n)))
                chosen = tirx.max(places[tuple(at(n))], 0)
                store(values, a[tuple(at(chosen))], at(n))

        nest([*outer, *inner], row)

    return emit_kernel(ctx, "top_k", [x], [like(shape, x.dtype), like(shape, "int64")], body)


def _array_feature_extractor(ctx: Context, node: Node) -> Value:
    x, indices = node.input(0), node.input(1)
    picked = bounded(reshape(ctx, indices, (indices.size,)), x.shape[-1])
    shape = (*(x.shape[:-1] or (1,)), picked.size)

    def rule(a: Any, b: Any) -> Any:
        def element(*i: Any) -> Any:
            at = wrapped(b(i[-1]), x.shape[-1])
            return a(*i[:-1], at) if x.rank > 1 else a(at)

        return te.compute(shape, element, name="array_feature_extractor")

    return ctx.te(rule, x, picked, name="array_feature_extractor")


CONVERTERS: Table = {
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "OneHot": _one_hot,
    "Scatter": _scatter_elements,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "TopK": _top_k,
}
ML_CONVERTERS: Table = {"ArrayFeatureExtractor": _array_feature_extractor}
