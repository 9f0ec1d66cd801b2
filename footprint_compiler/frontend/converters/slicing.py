"""Concat, Split, Slice, Pad, Tile, Expand and relatives: copies at fixed places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from footprint_compiler.frontend.context import Context, Node, Refusal, Table, normalize_axis
from footprint_compiler.frontend.converters.basic import broadcast, reshape
from footprint_compiler.frontend.value import Value, constant

op = relax.op


def slice_axis(ctx: Context, x: Value, axis: int, begin: int, end: int, step: int = 1) -> Value:
    """``x[begin:end:step]`` along one axis, indices within the axis; step may be negative."""
    if x.array is not None:
        index = [slice(None)] * x.rank
        stop: int | None = end if end >= 0 else None
        index[axis] = slice(begin, stop, step)
        return constant(x.array[tuple(index)])
    if (begin, end, step) == (0, x.shape[axis], 1):
        return x
    if step > 0:
        return ctx.emit(
            op.strided_slice(x.expr, axes=[axis], begin=[begin], end=[end], strides=[step])
        )
    count = -((begin - end) // step) if (begin - end) % step == 0 else (begin - end) // -step + 1
    shape = [count if i == axis else d for i, d in enumerate(x.shape)]

    def rule(a: Any) -> Any:
        def element(*i: Any) -> Any:
            return a(*(begin + step * v if n == axis else v for n, v in enumerate(i)))

        return te.compute(shape, element, name="reversed")

    return ctx.te(rule, x, name="reversed")


def _slice(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    starts = node.ints("starts", 1) or []
    ends = node.ints("ends", 2) or []
    axes = node.ints("axes", 3) or list(range(len(starts)))
    steps = node.ints("steps", 4) or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = normalize_axis(axis, x.rank)
        if step == 0:
            raise Refusal("a step of 0", "export the model again")
        picked = range(x.shape[place])[start:end:step]
        if len(picked) == 0:
            empty = [0 if i == place else d for i, d in enumerate(x.shape)]
            return constant(np.zeros(empty, x.dtype))
        stop = picked[-1] + (1 if step > 0 else -1)
        x = slice_axis(ctx, x, place, picked[0], stop, step)
    return x


def concat(ctx: Context, parts: Sequence[Value], axis: int) -> Value:
    """Parts one after the other along an axis; empty ones are dropped."""
    used = [p for p in parts if p.size > 0] or list(parts[:1])
    if len(used) == 1:
        return used[0]
    if all(p.array is not None for p in used):
        return constant(np.concatenate([p.array for p in used if p.array is not None], axis))
    return ctx.emit(op.concat(relax.Tuple([ctx.expr(p) for p in used]), axis=axis))


def _concat(ctx: Context, node: Node) -> Value:
    parts = [v for v in node.inputs if v is not None]
    return concat(ctx, parts, normalize_axis(int(node.attrs["axis"]), parts[0].rank))


def _split(ctx: Context, node: Node) -> tuple[Value, ...]:
    x = node.input(0)
    axis = normalize_axis(int(node.attrs.get("axis", 0)), x.rank)
    sizes = node.ints("split", 1)
    if sizes is None:
        count = int(node.attrs.get("num_outputs", len(node.outputs)))
        each = -(-x.shape[axis] // count)
        sizes = [max(0, min(each, x.shape[axis] - i * each)) for i in range(count)]
    if sum(sizes) != x.shape[axis]:
        raise Refusal(f"parts {sizes} do not fill axis {axis}", "check the bound shapes")
    parts = []
    begin = 0
    for size in sizes:
        if size == 0:
            empty = [0 if i == axis else d for i, d in enumerate(x.shape)]
            parts.append(constant(np.zeros(empty, x.dtype)))
        else:
            parts.append(slice_axis(ctx, x, axis, begin, begin + size))
        begin += size
    return tuple(parts)


def _expand(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    wanted = node.ints("shape", 1) or []
    return broadcast(ctx, x, np.broadcast_shapes(x.shape, tuple(wanted)))


def _tile(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    repeats = node.ints("repeats", 1) or []
    if all(r == 1 for r in repeats):
        return x
    if 0 in repeats:
        return constant(np.zeros([d * r for d, r in zip(x.shape, repeats, strict=True)], x.dtype))
    # One axis per repeat and one per dimension: copies without a remainder in every index.
    pairs = [n for pair in zip(repeats, x.shape, strict=True) for n in pair]

    def rule(a: Any) -> Any:
        return te.compute(pairs, lambda *i: a(*i[1::2]), name="tile")

    y = ctx.te(rule, x, name="tile") if x.rank else x
    return reshape(ctx, y, [d * r for d, r in zip(x.shape, repeats, strict=True)])


def _pad(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    mode = str(node.attrs.get("mode", "constant"))
    pads = node.ints("pads", 1) or node.ints("paddings", 1) or []
    axes = node.ints("axes", 3) if "pads" not in node.attrs else None
    places = [normalize_axis(a, x.rank) for a in (range(x.rank) if axes is None else axes)]
    before, after = [0] * x.rank, [0] * x.rank
    for i, place in enumerate(places):
        before[place], after[place] = pads[i], pads[i + len(places)]
    for axis in range(x.rank):  # negative pads crop
        begin, end = max(0, -before[axis]), x.shape[axis] - max(0, -after[axis])
        if end <= begin:
            raise Refusal("it crops everything", "check the pads")
        x = slice_axis(ctx, x, axis, begin, end)
    before, after = [max(0, p) for p in before], [max(0, p) for p in after]
    if not any(before) and not any(after):
        return x
    value = node.attrs.get("value", 0.0)
    if "value" not in node.attrs and node.optional(2) is not None:
        array = node.array(2)
        value = 0.0 if array is None else array.item()
    return pad(ctx, x, before, after, mode, value)


def pad(
    ctx: Context, x: Value, before: Sequence[int], after: Sequence[int], mode: str, value: Any
) -> Value:
    """``x`` with elements added on both sides of every axis; modes as in ONNX Pad."""
    shape = [b + d + a for b, d, a in zip(before, x.shape, after, strict=True)]
    if mode == "constant":
        if x.is_float and float(value) == 0.0:
            widths = [w for pair in zip(before, after, strict=True) for w in pair]
            return ctx.op(op.nn.pad, x, pad_width=widths, pad_value=0.0)
        return ctx.te(_constant_rule(x, before, shape, value), x, name="pad")
    if mode not in ("reflect", "edge", "wrap"):
        raise Refusal(f"pad mode {mode} is unknown", "use constant, reflect, edge or wrap")

    def place(i: Any, axis: int) -> Any:
        size = x.shape[axis]
        if not before[axis] and not after[axis]:
            return i
        at = i - before[axis]
        if mode == "edge":
            return tirx.max(tirx.min(at, size - 1), 0)
        if mode == "wrap":
            return tirx.floormod(at, size)
        period = max(2 * (size - 1), 1)
        folded = tirx.floormod(at, period)
        return tirx.min(folded, period - folded) if size > 1 else 0

    def rule(a: Any) -> Any:
        return te.compute(shape, lambda *i: a(*(place(v, n) for n, v in enumerate(i))), name="pad")

    return ctx.te(rule, x, name="pad")


def _constant_rule(x: Value, before: Sequence[int], shape: Sequence[int], value: Any) -> Any:
    def rule(a: Any) -> Any:
        def element(*i: Any) -> Any:
            inside = [
                test
                for n, v in enumerate(i)
                if shape[n] != x.shape[n]
                for test in (v >= before[n], v < before[n] + x.shape[n])
            ]
            source = a(*(v - before[n] for n, v in enumerate(i)))
            return tirx.if_then_else(tirx.all(*inside), source, tirx.const(value, x.dtype))

        return te.compute(shape, element, name="pad")

    return rule


def _reverse_sequence(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    time = int(node.attrs.get("time_axis", 0))
    batch = int(node.attrs.get("batch_axis", 1))

    def rule(a: Any, lengths: Any) -> Any:
        def element(*i: Any) -> Any:
            length = lengths[i[batch]].astype("int64")
            at = tirx.Select(i[time] < length, length - 1 - i[time], i[time])
            at = tirx.max(tirx.min(at, x.shape[time] - 1), 0)
            return a(*(at if n == time else v for n, v in enumerate(i)))

        return te.compute(a.shape, element, name="reverse_sequence")

    return ctx.te(rule, x, node.input(1), name="reverse_sequence")


def _compress(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    condition = node.array(1)
    if "axis" in node.attrs:
        axis = normalize_axis(int(node.attrs["axis"]), x.rank)
    else:
        x, axis = reshape(ctx, x, (x.size,)), 0
    picked = np.flatnonzero(np.asarray(condition))
    if picked.size == 0:
        return constant(np.zeros([0 if i == axis else d for i, d in enumerate(x.shape)], x.dtype))
    return ctx.op(op.take, x, constant(picked.astype("int64")), axis=axis, mode="clip")


def _trilu(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    array = node.array(1)
    k = 0 if array is None else int(array.item())
    upper = bool(node.attrs.get("upper", 1))
    zero = tirx.const(0, x.dtype)

    def rule(a: Any) -> Any:
        def element(*i: Any) -> Any:
            keep = i[-1] - i[-2] >= k if upper else i[-1] - i[-2] <= k
            return tirx.Select(keep, a(*i), zero)

        return te.compute(a.shape, element, name="trilu")

    return ctx.te(rule, x, name="trilu")


CONVERTERS: Table = {
    "Compress": _compress,
    "Concat": _concat,
    "Expand": _expand,
    "Pad": _pad,
    "ReverseSequence": _reverse_sequence,
    "Slice": _slice,
    "Split": _split,
    "Tile": _tile,
    "Trilu": _trilu,
}
