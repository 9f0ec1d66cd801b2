"""Turn the statement of one output row into a row kernel whose tensors lie in rings.

Row h of a ring of R rows is at h % R. The remainder is taken once per tensor and row of output:
the first row that the kernel may read is at ``base``, and the others follow it, wrapping at most
once, as a ring is at least as long as the window. So no index holds a remainder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

from footprint_compiler.kernels.tir import INDEX, index, prim_func
from footprint_compiler.streaming.window import Window

ROW = "fpc.row"
"""Annotation of the loop over output rows, which becomes the parameter ``row``."""
BASE = "fpc.base"
"""Annotation [stride, offset, R] of a loop that is none: its variable stands for the number
(row * stride + offset) % R, and has a loop's range until the kernel is lowered."""
ROW_KERNEL = "fpc.row_kernel"
"""Attribute of a function that has such a loop."""


def row_kernel(
    params: Sequence[Any],
    body: Callable[[Any], Any],
    height: int,
    windows: Mapping[int, Window],
    rings: Mapping[int, int],
    attrs: Mapping[str, Any],
) -> Any:
    """A function whose outermost loop runs over the output rows, marked with ``ROW``.

    Args:
        params: buffers as in the plain kernel; the last one is the output, of shape (1, H, W, C).
        body: row h -> statement that computes it, on ``params``.
        height: rows of the output.
        windows: parameter index -> rows that it is read by.
        rings: parameter index -> rows of its ring; the output may be among them.
        attrs: of the function.
    """
    row = tirx.Var("row", INDEX)
    last = len(params) - 1
    windows = {**windows, last: Window(height)}
    replaced = list(params)
    statement = body(row)
    bases = []
    for position, ring in rings.items():
        window = windows[position]
        if ring >= window.height:
            continue
        old = params[position]
        new = _with_rows(old, ring)
        base = tirx.Var(f"{old.name}_base", INDEX)
        lift = -(-window.before // ring) * ring
        bases.append((base, (window.stride, lift - window.before, ring)))
        statement = _move(statement, old, new, _slot(row, window, ring, base))
        replaced[position] = new
    for base, numbers in bases:
        statement = _marked(base, numbers[-1], statement, BASE, numbers)
    whole = _marked(row, height, statement, ROW, (1,))
    return prim_func(replaced, whole, {**attrs, ROW_KERNEL: True})


def _marked(variable: Any, extent: int, body: Any, mark: str, numbers: Sequence[int]) -> Any:
    values = [tirx.const(number, "int32") for number in numbers]
    serial = tirx.ForKind.SERIAL
    return tirx.For(variable, index(0), index(extent), serial, body, annotations={mark: values})


def _with_rows(buffer: Any, rows: int) -> Any:
    one, _, width, channels = buffer.shape
    return tirx.decl_buffer((one, index(rows), width, channels), buffer.dtype, name=buffer.name)


def _slot(row: Any, window: Window, ring: int, base: Any) -> Callable[[Any], Any]:
    """Row of the image -> row of the ring."""
    analyzer = tvm.sym.Analyzer()

    def place(at: Any) -> Any:
        if ring == 1:
            return index(0)
        after_first = analyzer.simplify(at - row * index(window.stride) + index(window.before))
        if isinstance(after_first, tirx.IntImm) and int(after_first) == 0:
            return base
        slot = base + after_first
        return slot - tirx.Select(slot >= index(ring), index(ring), index(0))

    return place


def _move(statement: Any, old: Any, new: Any, place: Callable[[Any], Any]) -> Any:
    def indices(given: Any) -> list[Any]:
        return [given[0], place(given[1]), *given[2:]]

    def load(expr: Any) -> Any:
        if not expr.source.same_as(old):
            return expr
        return tirx.BufferLoad(new, indices(expr.indices))

    def store(stmt: Any) -> Any:
        if not stmt.buffer.same_as(old):
            return stmt
        return tirx.BufferStore(new, stmt.value, indices(stmt.indices))

    return tvm_ffi.structural_map(statement, [(tvm.ir.TensorLoad, load), (tirx.BufferStore, store)])
