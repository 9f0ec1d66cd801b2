"""Cut a loop where a condition changes, so that no element asks which part it belongs to.

The definition of a concatenation asks, for each element, along the axis that grows:

    if_then_else(c2 <= i, third[i - c2], if_then_else(c1 <= i, second[i - c1], first[i]))

Between two constants the answer is the same: one loop for each part, over runs of plain loads.
Only conditions that compare one variable of the nest with a constant are decided; all others stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

from footprint_compiler.kernels.tir import CONDITIONAL, loop, seq, substitute

MOST_SEGMENTS = 8


def segmented(store: Any, variables: Sequence[Any], shape: Sequence[int]) -> Any | None:
    """The whole nest of ``store`` cut along the one axis whose conditions can be decided, or None.

    Args:
        store: writes the element ``variables``.
        variables: of the nest, the innermost last.
        shape: their extents.
    """
    cuts: dict[int, set[int]] = {}

    def visit(call: Any) -> None:
        found = _cut(call, variables)
        if found is not None:
            cuts.setdefault(found[0], set()).add(found[1])

    tvm_ffi.structural_walk(store.value, (tvm.ir.Call, visit))
    if len(cuts) != 1:
        return None
    axis, inner = next(iter(cuts.items()))
    places = sorted({0, shape[axis]} | {cut for cut in inner if 0 < cut < shape[axis]})
    if len(places) - 1 > MOST_SEGMENTS:
        return None

    def segment(begin: int, end: int) -> Any:
        value = tvm_ffi.structural_map(
            store.value, (tvm.ir.Call, lambda call: _decided(call, variables, begin))
        )

        def nest(at: int, indices: list[Any]) -> Any:
            if at == len(shape):
                mapping = dict(zip(variables, indices, strict=True))
                return tirx.BufferStore(store.buffer, substitute(value, mapping), indices)
            first, last = (begin, end) if at == axis else (0, shape[at])
            return loop(f"i{at}", first, last, lambda i: nest(at + 1, [*indices, i]))

        return nest(0, [])

    return seq([segment(begin, end) for begin, end in pairwise(places)])


def _cut(call: Any, variables: Sequence[Any]) -> tuple[int, int] | None:
    """(variable, its first value for which the condition is another) of an ``if_then_else``."""
    if not isinstance(call.op, tvm.ir.Op) or call.op.name != CONDITIONAL:
        return None
    condition = call.args[0]
    if not isinstance(condition, (tirx.LE, tirx.LT, tirx.GE, tirx.GT)):
        return None
    sides = condition.a, condition.b
    for side, other in (sides, sides[::-1]):
        at = next((n for n, v in enumerate(variables) if side.same_as(v)), None)
        if at is not None and isinstance(other, tirx.IntImm):
            # v <= c and c < v change after c, v < c and c <= v at it
            after = isinstance(condition, (tirx.LE, tirx.GT)) == (side is sides[0])
            return at, int(other) + after
    return None


def _decided(call: Any, variables: Sequence[Any], begin: int) -> Any:
    """The branch that an ``if_then_else`` takes from ``begin`` on to the next cut."""
    found = _cut(call, variables)
    if found is None:
        return call
    at, cut = found
    condition = call.args[0]
    left = condition.a.same_as(variables[at])
    falls = isinstance(condition, (tirx.LE, tirx.LT)) == left  # true for small values
    return call.args[1] if (begin < cut) == falls else call.args[2]
