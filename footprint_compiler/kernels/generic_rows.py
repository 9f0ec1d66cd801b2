"""One output row of a function that is a single block without reduction over an image (1, H, W, C).

An input (1, H, W, C) is read by rows where the row of every read of it is s * h + c, with h the row
that is written, s >= 1 common to all, and nothing else names h: elementwise functions, padding,
slices. Anything else, such as the operand of a transposition, is read as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

from footprint_compiler.kernels.machine import Machine
from footprint_compiler.kernels.rings import row_kernel
from footprint_compiler.kernels.tir import index, loop, mentions, seq, substitute, unravel
from footprint_compiler.streaming.window import Window


@dataclass(frozen=True)
class ElementwiseRows:
    """What ``RowForm`` needs, less the kernel.

    Attributes:
        height: rows of the output.
        windows: parameter index -> rows that it is read by.
        emit: rings -> function, as in ``RowForm``.
    """

    height: int
    windows: Mapping[int, Window]
    emit: Callable[[Mapping[int, int]], Any]


def elementwise_rows(
    params: list[Any], store: Any, variables: list[Any], machine: Machine, attrs: Mapping[str, Any]
) -> ElementwiseRows | None:
    """The row form of ``store``, which writes the element ``variables`` of the last parameter."""
    shape = [int(extent) for extent in store.buffer.shape]
    if len(shape) != 4 or shape[0] != 1 or shape[1] == 1:
        return None
    height, width, channels = shape[1:]
    found = {at: _window(store.value, param, variables[1]) for at, param in enumerate(params[:-1])}
    windows = {at: window for at, window in found.items() if window is not None}
    straight = all(
        window == Window(height) and list(params[at].shape) == list(store.buffer.shape)
        for at, window in found.items()
    )
    lanes = machine.lanes(str(store.buffer.dtype))

    def element(row: Any, column: Any, channel: Any) -> Any:
        coordinates = [index(0), row, column, channel]
        mapping = dict(zip(variables, coordinates, strict=True))
        return tirx.BufferStore(store.buffer, substitute(store.value, mapping), coordinates)

    def flat(row: Any) -> Any:
        def at(position: Any) -> Any:
            return element(row, *unravel(position, (width, channels)))

        def vector(block: Any) -> Any:
            first = block * index(lanes)
            kind = tirx.ForKind.VECTORIZED
            return loop("lane", 0, lanes, lambda lane: at(first + lane), kind)

        total = width * channels
        vectors, rest = divmod(total, lanes) if lanes > 1 else (0, total)
        parts = [loop("v", 0, vectors, vector)] if vectors else []
        if rest:
            parts.append(loop("i", total - rest, total, at))
        return seq(parts)

    def nest(row: Any) -> Any:
        return loop("w", 0, width, lambda w: loop("c", 0, channels, lambda c: element(row, w, c)))

    def emit(rings: Mapping[int, int]) -> Any:
        return row_kernel(params, flat if straight else nest, height, windows, rings, attrs)

    return ElementwiseRows(height, windows, emit)


def _window(value: Any, param: Any, row: Any) -> Window | None:
    """The rows of ``param`` that ``value`` reads; None where it is read as a whole."""
    if len(param.shape) != 4 or int(param.shape[0]) != 1:
        return None
    places: set[tuple[int, int] | None] = set()

    def visit(load: Any) -> None:
        if load.source.same_as(param):
            others = any(mentions(expr, row) for at, expr in enumerate(load.indices) if at != 1)
            places.add(None if others else _linear(load.indices[1], row))

    tvm_ffi.structural_walk(value, (tvm.ir.TensorLoad, visit))
    known = [place for place in places if place is not None]
    if not known or len(known) < len(places) or len({stride for stride, _ in known}) > 1:
        return None
    stride = known[0][0]
    first, last = (pick(offset for _, offset in known) for pick in (min, max))
    return Window(int(param.shape[1]), stride, -first, last - first + 1) if stride > 0 else None


def _linear(expr: Any, row: Any) -> tuple[int, int] | None:
    """(s, c) where ``expr`` is s * row + c."""
    analyzer = tvm.sym.Analyzer()
    ends = [analyzer.simplify(substitute(expr, {row: index(at)})) for at in (0, 1)]
    if not all(isinstance(end, tirx.IntImm) for end in ends):
        return None
    offset, stride = int(ends[0]), int(ends[1]) - int(ends[0])
    rest = analyzer.simplify(expr - row * index(stride) - index(offset))
    return (stride, offset) if isinstance(rest, tirx.IntImm) and int(rest) == 0 else None
