"""Which item of a kernel touches which element of an output, by enumeration of all indices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import tirx

from footprint_compiler.codegen.temporaries import Memory

MOST_INDICES = 1 << 25
"""Indices of one statement that are enumerated at most."""
NOBODY = -1


class UnknownIndexError(Exception):
    """An index that is no arithmetic of loop variables, or too many of them."""


class Touched:
    """The item that touches each element of each output.

    Args:
        memory: of the function.
        outputs: its parameters that are outputs.
    """

    def __init__(self, memory: Memory, outputs: Sequence[Any]) -> None:
        self._memory, self._outputs = memory, outputs
        self._items: dict[int, np.ndarray] = {}
        self._loops: list[Any] = []
        self._bound: dict[Any, Any] = {}

    def enter(self, loop: Any) -> None:
        """All that is visited from now on is inside ``loop``."""
        self._loops.append(loop)

    def visit(self, statement: Any, first: int, split: bool) -> bool:
        """Whether no element of a statement is touched by another item, too.

        Args:
            first: number of its first item.
            split: the statement is a loop whose iterations are items, otherwise it is one item.
        """
        item = (statement.loop_var if split else None, first)
        return self._statement(statement, item, ())

    def _statement(self, node: Any, item: tuple[Any, int], masks: tuple[Any, ...]) -> bool:
        if isinstance(node, tirx.SeqStmt):
            return all(self._statement(one, item, masks) for one in node.seq)
        if isinstance(node, tirx.For):
            self._loops.append(node)
            fine = self._statement(node.body, item, masks)
            self._loops.pop()
            return fine
        if isinstance(node, tirx.IfThenElse):
            fine = self._values(node.condition, item, masks)
            fine = fine and self._statement(node.then_case, item, (*masks, (node.condition, True)))
            if node.else_case is None:
                return fine
            return fine and self._statement(node.else_case, item, (*masks, (node.condition, False)))
        if isinstance(node, tirx.Bind):
            self._bound[node.var] = node.value
            return self._values(node.value, item, masks)
        if isinstance(node, tirx.AttrStmt):
            return self._statement(node.body, item, masks)
        if isinstance(node, tirx.BufferStore):
            fine = self._values(node.value, item, masks)
            return fine and self._touch(node.buffer, node.indices, item, masks)
        if isinstance(node, (tirx.AllocBuffer, tirx.DeclBuffer)):
            return True
        if isinstance(node, tirx.Evaluate):
            return isinstance(node.value, tirx.IntImm)
        return False

    def _values(self, expr: Any, item: tuple[Any, int], masks: tuple[Any, ...]) -> bool:
        """What an expression reads."""
        fine = True

        def load(node: Any) -> None:
            nonlocal fine
            fine = fine and self._touch(node.source, node.indices, item, masks)

        tvm_ffi.structural_walk(expr, (tvm.ir.TensorLoad, load))
        return fine

    def _touch(
        self, buffer: Any, indices: Any, item: tuple[Any, int], masks: tuple[Any, ...]
    ) -> bool:
        root = self._memory.root(buffer)
        number = next((n for n, one in enumerate(self._outputs) if one.same_as(root)), None)
        if number is None:
            return True
        if len(indices) != 1 or str(buffer.dtype) != str(root.dtype):
            return False
        size = prod(int(extent) for extent in buffer.shape)
        items = self._items.setdefault(number, np.full(size, NOBODY, np.int64))
        lanes = np.zeros(1, np.int64)
        at = indices[0]
        if isinstance(at, tirx.Ramp):
            lanes = np.arange(int(at.lanes)) * int(at.stride)
            at = at.base
        variables = self._variables([at])
        conditions = [(mask, wanted) for mask, wanted in masks if self._known(mask)]
        if item[0] is not None:
            variables.append(item[0])
        for mask, _ in conditions:
            variables += self._variables([mask])
        grid = self._grid(variables, lanes.size)
        places = _evaluate(at, grid, self._bound)[..., None] + lanes
        own = np.asarray(item[1] if item[0] is None else grid[item[0]] + item[1])
        places, own = np.broadcast_arrays(places, own[..., None] if own.ndim else own)
        kept = np.ones((), bool)
        for mask, wanted in conditions:
            kept = kept & (np.asarray(_evaluate(mask, grid, self._bound), bool) == wanted)
        inside = np.broadcast_to(kept[..., None] if kept.ndim else kept, places.shape)
        places, own = places[inside], own[inside]
        if places.size and (places.min() < 0 or places.max() >= size):
            return False
        before = items[places]
        if np.any((before != NOBODY) & (before != own)):
            return False
        items[places] = own
        return bool(np.all(items[places] == own))

    def _known(self, mask: Any) -> bool:
        try:
            grid = self._grid(self._variables([mask]), 1)
            _evaluate(mask, grid, self._bound)
        except UnknownIndexError:
            return False
        return True

    def _variables(self, exprs: Sequence[Any]) -> list[Any]:
        """Loop variables that expressions use, through bound ones."""
        found: list[Any] = []

        def visit(var: Any) -> None:
            if var in self._bound:
                tvm_ffi.structural_walk(self._bound[var], (tvm.ir.Var, visit))
            else:
                found.append(var)

        for expr in exprs:
            tvm_ffi.structural_walk(expr, (tvm.ir.Var, visit))
        return found

    def _grid(self, variables: Sequence[Any], lanes: int) -> dict[Any, np.ndarray]:
        """All values of the variables, each along an axis of its own."""
        used = [loop for loop in self._loops if any(loop.loop_var.same_as(v) for v in variables)]
        if any(not any(loop.loop_var.same_as(v) for loop in used) for v in variables):
            raise UnknownIndexError
        if not all(isinstance(loop.extent, tirx.IntImm) for loop in used):
            raise UnknownIndexError
        extents = [int(loop.extent) for loop in used]
        if prod(extents) * lanes > MOST_INDICES:
            raise UnknownIndexError
        grid = {}
        for axis, (loop, extent) in enumerate(zip(used, extents, strict=True)):
            shape = [1] * len(used)
            shape[axis] = extent
            grid[loop.loop_var] = np.arange(extent).reshape(shape) + int(loop.min)
        return grid


def _evaluate(expr: Any, grid: Mapping[Any, np.ndarray], bound: Mapping[Any, Any]) -> Any:
    if isinstance(expr, tirx.IntImm):
        return np.asarray(int(expr))
    if isinstance(expr, tvm.ir.Var):
        return _evaluate(bound[expr], grid, bound) if expr in bound else grid[expr]
    if isinstance(expr, tirx.Cast) and str(expr.ty.dtype) in ("int32", "int64"):
        return _evaluate(expr.value, grid, bound)
    if isinstance(expr, tirx.Not):
        return np.logical_not(_evaluate(expr.a, grid, bound))
    rule = _BINARY.get(type(expr).__name__)
    if rule is None:
        raise UnknownIndexError(type(expr).__name__)
    return rule(_evaluate(expr.a, grid, bound), _evaluate(expr.b, grid, bound))


def _truncated(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    quotient: np.ndarray = np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))
    return quotient


_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "FloorDiv": np.floor_divide,
    "FloorMod": np.mod,
    "Div": _truncated,
    "Mod": np.fmod,
    "Max": np.maximum,
    "Min": np.minimum,
    "LT": np.less,
    "LE": np.less_equal,
    "GT": np.greater,
    "GE": np.greater_equal,
    "EQ": np.equal,
    "NE": np.not_equal,
    "And": np.logical_and,
    "Or": np.logical_or,
}
