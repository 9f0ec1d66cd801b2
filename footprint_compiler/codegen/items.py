"""Cut a kernel into items that threads compute in any order, where that is proved to be safe.

A kernel is a list of units: a loop, whose iterations are one item each, or other statements, which
are one item together. Where the list is a single loop, the items may also be those of its body, in
every iteration of that loop. The kernel gets two more parameters, and computes the items from
``begin`` to before ``end``; each is computed by the same expressions as without threads.

Proved is, by enumeration, that every element of an output is touched by one item only
(``touched``), and by the order of accesses that no item reads a temporary that it has not written
(``temporaries``): statements that do are one unit with those that wrote it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tvm import tirx

from footprint_compiler.codegen.temporaries import (
    Memory,
    changes_with,
    exposed,
    memory_of,
    stored,
    used,
)
from footprint_compiler.codegen.touched import Touched, UnknownIndexError
from footprint_compiler.kernels.tir import substitute

DEPTH = 3
"""Loops around each other that are looked into."""
_DECLARATIONS = (tirx.AllocBuffer, tirx.DeclBuffer)


@dataclass(frozen=True)
class Items:
    """A kernel's body whose items are numbered, and its two parameters ``begin`` and ``end``."""

    body: Any
    parameters: tuple[Any, Any]
    count: int


def take_items(func: Any, outputs: int, wanted: int, uniform: bool = False) -> Items | None:
    """The body cut into items; None where no cut is known to be safe.

    Args:
        func: flat TIR of a kernel whose parameters are buffers, the outputs last.
        outputs: how many.
        wanted: items that are enough; the outermost loops that have so many are cut, otherwise
            those that have most.
        uniform: whatever its branches, an item that writes a temporary before it reads it writes
            all that it reads. Without that promise, temporaries must be used in the same way by
            every item, without branches.
    """
    memory = memory_of(func)
    if memory is None:
        return None
    results = list(func.params)[-outputs:]
    levels = _levels(func.body, memory, uniform)
    levels.sort(key=lambda level: -min(wanted, level.count))
    begin, end = tirx.Var("begin", "int32"), tirx.Var("end", "int32")
    for level in levels:
        if level.count > 1 and _is_safe(level, memory, results, uniform):
            return Items(level.cut(begin, end), (begin, end), level.count)
    return None


@dataclass(frozen=True)
class _Unit:
    """Statements that belong together.

    Attributes:
        written, exposed: temporaries that they write; those that one reads before it writes them.
        finishes: they write an output.
    """

    statements: tuple[Any, ...]
    written: frozenset[Any]
    exposed: frozenset[Any]
    finishes: bool

    @classmethod
    def of(cls, statement: Any, memory: Memory) -> _Unit:
        buffers = stored(statement)
        finishes = any(memory.root(buffer) in memory.parameters for buffer in buffers)
        written = frozenset(memory.temporaries(buffers))
        return cls((statement,), written, frozenset(exposed(statement, memory)), finishes)

    @classmethod
    def join(cls, units: Sequence[_Unit]) -> _Unit:
        if len(units) == 1:
            return units[0]
        return cls(
            tuple(statement for unit in units for statement in unit.statements),
            frozenset().union(*(unit.written for unit in units)),
            frozenset().union(*(unit.exposed for unit in units)),
            any(unit.finishes for unit in units),
        )


@dataclass(frozen=True)
class _Level:
    """A list of statements inside ``outer`` loops.

    Attributes:
        before: declarations before each of the loops and before the list.
    """

    outer: tuple[Any, ...]
    before: tuple[tuple[Any, ...], ...]
    statements: tuple[Any, ...]
    memory: Memory
    uniform: bool

    @cached_property
    def units(self) -> list[tuple[Any, ...]]:
        """Statements that no temporary connects.

        What reads a temporary that it has not written belongs to all before it that touch it, or,
        where an item fills whatever it reads, back to what has written an output since.
        """
        found: list[_Unit] = []
        for statement in self.statements:
            own = _Unit.of(statement, self.memory)
            wanted, filled, first = own.exposed, frozenset[Any](), len(found)
            for number in range(len(found) - 1, -1, -1):
                earlier = found[number]
                if not (earlier.written | earlier.exposed) & wanted:
                    continue
                if self.uniform and wanted <= filled and earlier.finishes:
                    break
                first = number
                wanted |= earlier.exposed
                filled |= earlier.written
            found[first:] = [_Unit.join([*found[first:], own])]
        return [unit.statements for unit in found]

    @cached_property
    def starts(self) -> list[int]:
        """Number of each unit's first item, and that after the last."""
        found = [0]
        for unit in self.units:
            found.append(found[-1] + _extent(unit))
        return found

    @property
    def count(self) -> int:
        return self.starts[-1]

    def cut(self, begin: Any, end: Any) -> Any:
        numbered = zip(self.units, self.starts, strict=False)
        pieces = [_restricted(unit, first, begin, end) for unit, first in numbered]
        body = _sequence([*self.before[-1], *pieces])
        for around, before in zip(self.outer[::-1], self.before[-2::-1], strict=True):
            body = _sequence([*before, _loop_like(around, around.loop_var, around.extent, body)])
        return body


def _levels(body: Any, memory: Memory, uniform: bool) -> list[_Level]:
    """The list of the whole body, then, as long as a list is one loop, that of its body."""
    found = []
    outer: tuple[Any, ...] = ()
    before: tuple[tuple[Any, ...], ...] = ()
    for _ in range(DEPTH):
        statements = _flattened(body)
        own = tuple(one for one in statements if isinstance(one, _DECLARATIONS))
        rest = tuple(one for one in statements if not isinstance(one, _DECLARATIONS))
        before = (*before, own)
        found.append(_Level(outer, before, rest, memory, uniform))
        if len(rest) != 1 or not _is_loop(rest[0]):
            break
        outer, body = (*outer, rest[0]), rest[0].body
    return found


def _flattened(body: Any) -> list[Any]:
    if not isinstance(body, tirx.SeqStmt):
        return [body]
    return [one for part in body.seq for one in _flattened(part)]


def _is_loop(statement: Any) -> bool:
    return (
        isinstance(statement, tirx.For)
        and int(statement.kind) == int(tirx.ForKind.SERIAL)
        and isinstance(statement.extent, tirx.IntImm)
        and isinstance(statement.min, tirx.IntImm)
        and int(statement.min) == 0
    )


def _is_cut(unit: tuple[Any, ...]) -> bool:
    return len(unit) == 1 and _is_loop(unit[0])


def _extent(unit: tuple[Any, ...]) -> int:
    return int(unit[0].extent) if _is_cut(unit) else 1


def _restricted(unit: tuple[Any, ...], first: int, begin: Any, end: Any) -> Any:
    """Those items of a unit that are asked for."""
    if not _is_cut(unit):
        at = tirx.const(first, "int32")
        return tirx.IfThenElse(tirx.all(begin <= at, end > at), _sequence(unit), None)
    around = unit[0]
    dtype = str(around.loop_var.ty.dtype)
    extent = tirx.const(int(around.extent), "int32")

    def within(value: Any) -> Any:
        moved = value - tirx.const(first, "int32")
        return tirx.max(tirx.const(0, "int32"), tirx.min(moved, extent))

    start = within(begin)
    inner = tirx.Var(str(around.loop_var.name), dtype)
    body = substitute(around.body, {around.loop_var: inner + start.astype(dtype)})
    return _loop_like(around, inner, (within(end) - start).astype(dtype), body)


def _loop_like(around: Any, variable: Any, extent: Any, body: Any) -> Any:
    return tirx.For(variable, around.min, extent, around.kind, body, annotations=around.annotations)


def _sequence(statements: Sequence[Any]) -> Any:
    return statements[0] if len(statements) == 1 else tirx.SeqStmt(list(statements))


def _is_safe(level: _Level, memory: Memory, outputs: Sequence[Any], uniform: bool) -> bool:
    touched = Touched(memory, outputs)
    for around in level.outer:
        touched.enter(around)
    for unit, first in zip(level.units, level.starts, strict=False):
        cut = _is_cut(unit)
        body = unit[0].body if cut else _sequence(unit)
        if exposed(body, memory):
            return False
        if not uniform and used(body, memory) and cut and changes_with(body, unit[0], memory):
            return False
        try:
            if not all(touched.visit(one, first, split=cut) for one in unit):
                return False
        except UnknownIndexError:
            return False
    return True
