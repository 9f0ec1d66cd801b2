"""Small helpers that build TIR statements, so that kernel generators read like loop nests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

INDEX = "int64"
FAMILY = "fpc.family"
"""Attribute of a function that is already a kernel: what reports call it."""
CONDITIONAL = "prim.if_then_else"
"""Name of the operator behind ``if_then_else``, which evaluates only the branch that it takes."""
WEIGHTED_AXIS = "fpc.weighted_axis"
"""Attribute of functions (x, places, weights) that weigh neighbours along one axis."""


def index(value: Any) -> Any:
    """An index constant; an index expression stays as it is."""
    return tirx.IntImm(INDEX, value) if isinstance(value, int) else value


def seq(statements: Sequence[Any]) -> Any:
    """One statement of several, or of none."""
    if not statements:
        return tirx.Evaluate(tirx.const(0, "int32"))
    return statements[0] if len(statements) == 1 else tirx.SeqStmt(list(statements))


def loop(
    name: str,
    begin: Any,
    end: Any,
    body: Callable[[Any], Any],
    kind: tirx.ForKind = tirx.ForKind.SERIAL,
) -> Any:
    """``for name in [begin, end): body(name)``; a single static iteration has no loop."""
    if isinstance(begin, int) and isinstance(end, int):
        if end - begin == 1:
            return body(index(begin))
        begin, end = index(begin), index(end)
    elif isinstance(begin, int):
        begin = index(begin)
    var = tirx.Var(name, INDEX)
    extent = end - begin
    return tirx.For(var, index(0), extent, kind, body(var + begin))


def local(name: str, elements: int, dtype: str) -> Any:
    """A register tile: a one-dimensional buffer that never leaves the kernel."""
    return tirx.decl_buffer((index(elements),), dtype, name=name, scope="local")


def ramp(base: Any, lanes: int) -> Any:
    """``base, base+1, ...`` as a vector index, or ``base`` itself for one lane."""
    base = index(base) if isinstance(base, int) else base
    return base if lanes == 1 else tirx.Ramp(base, index(1), lanes)


def splat(value: Any, lanes: int) -> Any:
    """A scalar repeated in every lane."""
    return value if lanes == 1 else tirx.Broadcast(value, lanes)


def cast(value: Any, dtype: str, wanted: str, lanes: int = 1) -> Any:
    """``value`` of ``dtype`` in every lane as ``wanted``."""
    if dtype == wanted:
        return value
    return value.astype(wanted if lanes == 1 else f"{wanted}x{lanes}")


def substitute(expr: Any, variables: Mapping[Any, Any]) -> Any:
    """Replace variables of an expression."""
    return tvm_ffi.structural_map(expr, (tvm.ir.Var, lambda var: variables.get(var, var)))


def mentions(expr: Any, variable: Any) -> bool:
    """Whether ``expr`` reads ``variable``."""
    found = False

    def visit(var: Any) -> None:
        nonlocal found
        found = found or bool(var.same_as(variable))

    tvm_ffi.structural_walk(expr, (tvm.ir.Var, visit))
    return found


def prim_func(params: Sequence[Any], body: Any, attrs: Mapping[str, Any] | None = None) -> Any:
    """A flat ``PrimFunc`` over buffer parameters."""
    return tirx.PrimFunc(
        list(params), body, attrs=tvm.ir.make_node("ir.DictAttrs", **dict(attrs or {}))
    )


def unravel(position: Any, shape: Sequence[int]) -> list[Any]:
    """Coordinates of a row-major position in ``shape``."""
    coordinates: list[Any] = []
    for axis, size in reversed(list(enumerate(shape))):
        if size == 1:
            coordinates.append(index(0))
        elif all(extent == 1 for extent in shape[:axis]):
            coordinates.append(position)
        else:
            coordinates.append(position % index(size))
            position = position // index(size)
    return coordinates[::-1]
