"""One output row of a function that is a single elementwise block over an image (1, H, W, C).

An input is read by rows where all reads of it name the row that is written, and as a whole where
none of them names a row at all. Anything else has no row form.
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
from footprint_compiler.kernels.tir import index, loop, seq, substitute, unravel
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
    height, row_shape = shape[1], [1, 1, *shape[2:]]
    windows: dict[int, Window] = {}
    for position, param in enumerate(params[:-1]):
        kind = _access(store.value, param, variables[1], height)
        if kind is None:
            return None
        if kind:
            windows[position] = Window(height)
    total, lanes = shape[2] * shape[3], machine.lanes(str(store.buffer.dtype))

    def body(row: Any) -> Any:
        def element(position: Any) -> Any:
            _, _, *rest = unravel(position, row_shape)
            coordinates = [index(0), row, *rest]
            mapping = dict(zip(variables, coordinates, strict=True))
            return tirx.BufferStore(store.buffer, substitute(store.value, mapping), coordinates)

        def vector(block: Any) -> Any:
            first = block * index(lanes)
            kind = tirx.ForKind.VECTORIZED
            return loop("lane", 0, lanes, lambda lane: element(first + lane), kind)

        vectors, rest = divmod(total, lanes) if lanes > 1 and straight else (0, total)
        parts = [loop("v", 0, vectors, vector)] if vectors else []
        if rest:
            parts.append(loop("i", total - rest, total, element))
        return seq(parts)

    straight = len(windows) == len(params) - 1

    def emit(rings: Mapping[int, int]) -> Any:
        return row_kernel(params, body, height, windows, rings, attrs)

    return ElementwiseRows(height, windows, emit)


def _access(value: Any, param: Any, row: Any, height: int) -> bool | None:
    """True: by the row that is written; False: not by rows; None: by other rows."""
    kinds: set[bool | None] = set()

    def visit(load: Any) -> None:
        if not load.source.same_as(param):
            return
        named = [at for at, expr in enumerate(load.indices) if _mentions(expr, row)]
        exact = named == [1] and len(load.indices) == 4 and load.indices[1].same_as(row)
        if not named:
            kinds.add(False)
        elif exact and int(param.shape[0]) == 1 and int(param.shape[1]) == height:
            kinds.add(True)
        else:
            kinds.add(None)

    tvm_ffi.structural_walk(value, (tvm.ir.TensorLoad, visit))
    if None in kinds or len(kinds) > 1:
        return None
    return kinds.pop() if kinds else False


def _mentions(expr: Any, variable: Any) -> bool:
    found = False

    def visit(var: Any) -> None:
        nonlocal found
        found = found or bool(var.same_as(variable))

    tvm_ffi.structural_walk(expr, (tvm.ir.Var, visit))
    return found
