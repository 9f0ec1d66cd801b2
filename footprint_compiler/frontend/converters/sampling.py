"""GridSample: values of an image at computed positions.

Equations: ONNX GridSample, with ``padding_mode`` applied to each tap.
"""

from __future__ import annotations

import itertools
from typing import Any

from tvm import te, tirx

from footprint_compiler.frontend.context import Context, Node, Refusal, Table
from footprint_compiler.frontend.converters.basic import cast, widened
from footprint_compiler.frontend.value import Value

_CUBIC = -0.75


class _Grid:
    """One sampling kernel: numbers of one dtype, and how positions outside are treated."""

    def __init__(self, dtype: str, padding: str, aligned: bool) -> None:
        self.dtype = dtype
        self.padding = padding
        self.aligned = aligned

    def number(self, value: float) -> Any:
        return tirx.const(value, self.dtype)

    def position(self, x: Any, size: int) -> Any:
        """From [-1, 1] to pixels."""
        one, half = self.number(1), self.number(0.5)
        if self.aligned:
            return (x + one) * half * self.number(size - 1)
        return ((x + one) * self.number(size) - one) * half

    def folded(self, x: Any, size: int) -> Any:
        """Reflect about the borders until inside; unchanged for other padding modes."""
        if self.padding == "border":
            return te.max(te.min(x, self.number(size - 1)), self.number(0))
        if self.padding != "reflection":
            return x
        low = 0.0 if self.aligned else -0.5
        span = size - 1.0 if self.aligned else float(size)
        if span == 0:
            return self.number(0)
        distance = te.abs(x - self.number(low))
        turns = te.floor(distance / self.number(span))
        rest = distance - turns * self.number(span)
        even = turns - self.number(2) * te.floor(turns * self.number(0.5)) < self.number(0.5)
        inside = tirx.Select(even, rest, self.number(span) - rest) + self.number(low)
        return te.max(te.min(inside, self.number(size - 1)), self.number(0))

    def tap(self, a: Any, lead: list[Any], at: list[Any], sizes: list[int]) -> Any:
        """Value at whole positions ``at`` (floats); 0 outside for padding mode zeros."""
        inside = []
        places = []
        for v, size in zip(at, sizes, strict=True):
            v = self.folded(v, size)
            inside += [v > self.number(-0.5), v < self.number(size - 0.5)]
            limited = te.max(te.min(v, self.number(size - 1)), self.number(0))
            places.append(tirx.Cast("int64", te.round(limited)))
        value = a(*lead, *places)
        if self.padding == "zeros":
            return tirx.Select(tirx.all(*inside), value, self.number(0))
        return value


def _weights(mode: str, grid: _Grid, fraction: Any) -> list[tuple[int, Any]]:
    """Offsets from the floor and weights of the taps along one axis."""
    one = grid.number(1)
    if mode == "linear":
        return [(0, one - fraction), (1, fraction)]
    near, far = [], []
    a = grid.number(_CUBIC)
    for offset in (0, 1):
        d = fraction if offset == 0 else one - fraction
        near.append((((a + grid.number(2)) * d - (a + grid.number(3))) * d * d) + one)
        e = d + one
        far.append(((a * e - grid.number(5) * a) * e + grid.number(8) * a) * e - grid.number(4) * a)
    return [(-1, far[0]), (0, near[0]), (1, near[1]), (2, far[1])]


def _grid_sample(ctx: Context, node: Node) -> Value:
    x, positions = node.input(0), node.input(1)
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(
        str(node.attrs.get("mode", "linear")), str(node.attrs.get("mode", "linear"))
    )
    padding = str(node.attrs.get("padding_mode", "zeros"))
    if mode not in ("linear", "nearest", "cubic"):
        raise Refusal(f"mode {mode} is unknown", "use linear, nearest or cubic")
    if padding not in ("zeros", "border", "reflection"):
        raise Refusal(f"padding_mode {padding} is unknown", "use zeros, border or reflection")
    if not x.is_float:
        raise Refusal(f"sampling {x.dtype} is not supported", "cast it to float32")
    positions = cast(ctx, positions, x.dtype)
    grid = _Grid(x.dtype, padding, bool(node.attrs.get("align_corners", 0)))
    sizes = list(x.shape[2:])
    spatial = len(sizes)
    shape = (x.shape[0], x.shape[1], *positions.shape[1:-1])

    def rule(a: Any, g: Any) -> Any:
        def element(*i: Any) -> Any:
            lead, place = [i[0], i[1]], i[2:]
            at = [
                grid.position(g(i[0], *place, spatial - 1 - n), size)
                for n, size in enumerate(sizes)
            ]
            if padding == "border":
                at = [grid.folded(v, size) for v, size in zip(at, sizes, strict=True)]
            if mode == "nearest":
                return grid.tap(a, lead, [te.round(v) for v in at], sizes)
            if mode == "linear" and padding == "reflection":
                at = [grid.folded(v, size) for v, size in zip(at, sizes, strict=True)]
            floors = [te.floor(v) for v in at]
            taps = [_weights(mode, grid, v - f) for v, f in zip(at, floors, strict=True)]
            total: Any = None
            for choice in itertools.product(*taps):
                where = [f + grid.number(o) for f, (o, _) in zip(floors, choice, strict=True)]
                term = grid.tap(a, lead, where, sizes)
                for _, weight in choice:
                    term = term * weight
                total = term if total is None else total + term
            return total

        return te.compute(shape, element, name="grid_sample")

    return ctx.te(rule, x, positions, name="grid_sample")


CONVERTERS: Table = {"GridSample": widened(_grid_sample)}
