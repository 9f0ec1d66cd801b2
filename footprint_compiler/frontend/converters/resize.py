"""Resize and Upsample: one gather for nearest, one weighted sum per axis otherwise.

All positions and weights are computed here, in float64, from the static shapes; the kernel only
reads tables. Equations: ONNX Resize, "coordinate_transformation_mode".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from footprint_compiler.frontend.context import Context, Node, Refusal, Table, normalize_axis
from footprint_compiler.frontend.converters.basic import cast, scalar, transpose
from footprint_compiler.frontend.value import Value, constant
from footprint_compiler.kernels.tir import WEIGHTED_AXIS


@dataclass(frozen=True)
class _Axis:
    """One resized axis."""

    size: int
    output: int
    scale: float
    roi: tuple[float, float]


def _resize(ctx: Context, node: Node) -> Value:
    x = node.input(0)
    legacy = node.op_type == "Upsample" or node.opset < 11
    axes = _axes(node, x, legacy)
    mode = str(node.attrs.get("mode", "nearest"))
    transform = (
        "asymmetric"
        if legacy
        else str(node.attrs.get("coordinate_transformation_mode", "half_pixel"))
    )
    if transform == "align_corners" and any(
        abs(a.size * a.scale - a.output) > 1e-4 * a.output for a in axes.values()
    ):
        raise Refusal(
            "align_corners with a scale that gives no whole size has two readings",
            "give sizes instead of scales",
        )
    if x.rank == 4 and set(axes) <= {2, 3}:  # channels last, as its neighbours will be
        image = transpose(ctx, x, (0, 2, 3, 1))
        moved = {i - 1: axis for i, axis in axes.items()}
        return transpose(ctx, _resample(ctx, node, image, moved, mode, transform), (0, 3, 1, 2))
    return _resample(ctx, node, x, axes, mode, transform)


def _resample(
    ctx: Context, node: Node, x: Value, axes: dict[int, _Axis], mode: str, transform: str
) -> Value:
    if mode == "nearest":
        legacy = node.op_type == "Upsample" or node.opset < 11
        nearest = "floor" if legacy else str(node.attrs.get("nearest_mode", "round_prefer_floor"))
        tables = {
            i: _nearest([_source(o, a, transform) for o in range(a.output)], a.size, nearest)
            for i, a in axes.items()
        }
        return _extrapolate(ctx, node, _pick(ctx, x, tables, axes), axes, transform)
    if mode not in ("linear", "bilinear", "cubic"):
        raise Refusal(f"mode {mode} is unknown", "use nearest, linear or cubic")
    if not x.is_float:
        raise Refusal(f"{mode} on {x.dtype} is not supported", "use mode nearest, or float32")
    narrow, wide = x.dtype, cast(ctx, x, "float32" if x.dtype == "float16" else x.dtype)
    for i, axis in axes.items():
        wide = _weigh(ctx, wide, i, *_taps(node, axis, mode == "cubic", transform))
    return _extrapolate(ctx, node, cast(ctx, wide, narrow), axes, transform)


def _extrapolate(
    ctx: Context, node: Node, y: Value, axes: dict[int, _Axis], transform: str
) -> Value:
    """Replace what lies outside the input by a value (tf_crop_and_resize only)."""
    if transform != "tf_crop_and_resize":
        return y
    value = scalar(float(node.attrs.get("extrapolation_value", 0.0)), y.dtype)
    for i, axis in axes.items():
        inside = [0 <= _source(o, axis, transform) <= axis.size - 1 for o in range(axis.output)]
        if not all(inside):
            mask = np.reshape(inside, [-1 if n == i else 1 for n in range(y.rank)])
            y = ctx.op(relax.op.where, constant(mask), y, value)
    return y


def _axes(node: Node, x: Value, legacy: bool) -> dict[int, _Axis]:
    """Axes whose size or region changes."""
    roi = scales = sizes = None
    if node.op_type == "Upsample" or node.opset < 11:
        scales = node.attrs.get("scales")
        if scales is None:
            scales = node.array(1)
    else:
        scales, sizes = node.array(2), node.array(3)
        if node.attrs.get("coordinate_transformation_mode") == "tf_crop_and_resize":
            roi = node.array(1)
    places = [normalize_axis(int(a), x.rank) for a in node.attrs.get("axes", range(x.rank))]
    count = len(places)
    found: dict[int, _Axis] = {}
    factors = [1.0] * count
    outputs = [x.shape[p] for p in places]
    if sizes is not None and sizes.size:
        policy = str(node.attrs.get("keep_aspect_ratio_policy", "stretch"))
        factors = [int(s) / x.shape[p] for s, p in zip(sizes, places, strict=True)]
        outputs = [int(s) for s in sizes]
        if policy != "stretch":
            one = min(factors) if policy == "not_larger" else max(factors)
            factors = [one] * count
            outputs = [math.floor(one * x.shape[p] + 0.5) for p in places]
    elif scales is not None and np.size(scales):
        factors = [float(s) for s in scales]
        outputs = [math.floor(x.shape[p] * f) for p, f in zip(places, factors, strict=True)]
        if roi is not None:
            outputs = [
                math.floor(x.shape[p] * (roi[i + count] - roi[i]) * factors[i])
                for i, p in enumerate(places)
            ]
    else:
        raise Refusal("neither scales nor sizes is given", "check with onnx.checker")
    for i, place in enumerate(places):
        region = (0.0, 1.0) if roi is None else (float(roi[i]), float(roi[i + count]))
        if outputs[i] < 1:
            raise Refusal("its output is empty", "check scales and sizes")
        if outputs[i] != x.shape[place] or factors[i] != 1.0 or region != (0.0, 1.0):
            found[place] = _Axis(x.shape[place], outputs[i], factors[i], region)
    return found


def _source(o: int, axis: _Axis, transform: str) -> float:
    """Input coordinate of output coordinate ``o``."""
    size, output, scale = axis.size, axis.output, axis.scale
    if transform == "asymmetric":
        return o / scale
    if transform == "half_pixel":
        return (o + 0.5) / scale - 0.5
    if transform == "half_pixel_symmetric":
        adjustment = output / (scale * size)
        center = size / 2
        return center * (1 - adjustment) + (o + 0.5) / scale - 0.5
    if transform == "pytorch_half_pixel":
        return (o + 0.5) / scale - 0.5 if output > 1 else 0.0
    if transform == "align_corners":
        return o * (size - 1) / (output - 1) if output > 1 else 0.0
    if transform == "tf_half_pixel_for_nn":
        return (o + 0.5) / scale
    if transform == "tf_crop_and_resize":
        begin, end = axis.roi
        if output > 1:
            return begin * (size - 1) + o * (end - begin) * (size - 1) / (output - 1)
        return 0.5 * (begin + end) * (size - 1)
    raise Refusal(f"coordinate_transformation_mode {transform} is unknown", "use half_pixel")


def _nearest(sources: list[float], size: int, mode: str) -> list[int]:
    rounding = {
        "round_prefer_floor": lambda v: math.ceil(v - 0.5),
        "round_prefer_ceil": lambda v: math.floor(v + 0.5),
        "floor": math.floor,
        "ceil": math.ceil,
    }
    if mode not in rounding:
        raise Refusal(f"nearest_mode {mode} is unknown", f"use {', '.join(rounding)}")
    # float32 coordinates, as the reference computes them, must not decide by their last bit
    exact = [round(v, 6) for v in sources]
    return [min(max(int(rounding[mode](v)), 0), size - 1) for v in exact]


def _pick(ctx: Context, x: Value, tables: dict[int, list[int]], axes: dict[int, _Axis]) -> Value:
    """Gather along several axes at once; whole factors need no table."""
    shape = [axes[i].output if i in axes else d for i, d in enumerate(x.shape)]
    looked = {}
    arrays = []
    for i, table in tables.items():
        factor = axes[i].output // axes[i].size
        if factor and table == [o // factor for o in range(axes[i].output)]:
            looked[i] = factor
        else:
            arrays.append((i, constant(np.asarray(table, "int32"))))

    def rule(a: Any, *given: Any) -> Any:
        by_axis = {i: t for (i, _), t in zip(arrays, given, strict=True)}

        def place(n: int, v: Any) -> Any:
            if n in looked:
                return tirx.indexdiv(v, looked[n])
            return by_axis[n][v] if n in by_axis else v

        return te.compute(
            shape, lambda *i: a(*(place(n, v) for n, v in enumerate(i))), name="resize"
        )

    return ctx.te(rule, x, *(t for _, t in arrays), name="resize")


def _taps(node: Node, axis: _Axis, cubic: bool, transform: str) -> tuple[np.ndarray, np.ndarray]:
    """Input positions (output, taps) and weights of every output element."""
    alpha = float(node.attrs.get("cubic_coeff_a", -0.75))
    shrink = axis.scale if node.attrs.get("antialias", 0) and axis.scale < 1 else 1.0
    reach = (2 if cubic else 1) / shrink
    taps = 2 * math.ceil(reach)
    places = np.zeros((axis.output, taps), dtype="int64")
    weights = np.zeros((axis.output, taps))
    for o in range(axis.output):
        source = _source(o, axis, transform)
        first = math.floor(source) - taps // 2 + 1
        for t in range(taps):
            distance = abs(source - (first + t)) * shrink
            weights[o, t] = _cubic(distance, alpha) if cubic else max(0.0, 1.0 - distance)
            places[o, t] = first + t
        outside = (places[o] < 0) | (places[o] >= axis.size)
        if node.attrs.get("exclude_outside", 0):
            weights[o, outside] = 0.0
        weights[o] /= weights[o].sum()
    return np.clip(places, 0, axis.size - 1), weights


def _cubic(d: float, a: float) -> float:
    """Keys' cubic convolution kernel."""
    if d <= 1:
        return ((a + 2) * d - (a + 3)) * d * d + 1
    if d < 2:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return 0.0


def _weigh(ctx: Context, x: Value, axis: int, places: np.ndarray, weights: np.ndarray) -> Value:
    used = [t for t in range(weights.shape[1]) if weights[:, t].any()]
    table = constant(np.ascontiguousarray(places[:, used]).astype("int32"))
    weight = constant(np.ascontiguousarray(weights[:, used]).astype(x.dtype))
    shape = [len(weights) if i == axis else d for i, d in enumerate(x.shape)]

    def rule(a: Any, p: Any, w: Any) -> Any:
        def element(*i: Any) -> Any:
            terms = [
                a(*i[:axis], p[i[axis], t], *i[axis + 1 :]) * w[i[axis], t]
                for t in range(len(used))
            ]
            total = terms[0]
            for term in terms[1:]:
                total = total + term
            return total

        return te.compute(shape, element, name="resize")

    return ctx.te(rule, x, table, weight, name="resize", attrs={WEIGHTED_AXIS: axis})


CONVERTERS: Table = {"Resize": _resize, "Upsample": _resize}
