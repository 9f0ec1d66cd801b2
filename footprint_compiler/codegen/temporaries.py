"""Which temporaries a statement reads before it writes them, by the order of accesses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

from footprint_compiler.kernels.tir import mentions


@dataclass(frozen=True)
class Memory:
    """Whose bytes a buffer means.

    Attributes:
        declared: buffer -> the buffer whose bytes it gives another shape or type.
        parameters: buffers that are none of the function's own.
    """

    declared: Mapping[Any, Any]
    parameters: frozenset[Any]

    def root(self, buffer: Any) -> Any:
        """The buffer that has bytes of its own."""
        while buffer in self.declared:
            buffer = self.declared[buffer]
        return buffer

    def temporaries(self, buffers: Iterable[Any]) -> set[Any]:
        """Roots of those of the buffers that are the function's own."""
        return {self.root(buffer) for buffer in buffers} - self.parameters


def memory_of(func: Any) -> Memory | None:
    """Of a flat function; None where a buffer is declared in a way that is not known."""
    declared: dict[Any, Any] = {}
    fine = True

    def declare(declaration: Any) -> None:
        nonlocal fine
        data = declaration.data
        known = isinstance(data, tvm.ir.Call) and len(data.args) == 1
        if (
            known
            and hasattr(data.args[0], "shape")
            and not declaration.buffer.same_as(data.args[0])
        ):
            declared[declaration.buffer] = data.args[0]
        else:
            fine = False

    tvm_ffi.structural_walk(func.body, (tirx.DeclBuffer, declare))
    return Memory(declared, frozenset(func.params)) if fine else None


def exposed(statement: Any, memory: Memory) -> set[Any]:
    """Temporaries of which something may be read before anything is written.

    Args:
        statement: flat TIR.
        memory: of the function.
    """
    return _Order(memory).visit(statement, set())[0]


def used(statement: Any, memory: Memory) -> set[Any]:
    """Temporaries that a statement reads or writes."""
    found: set[Any] = set()
    tvm_ffi.structural_walk(statement, (tvm.ir.TensorLoad, lambda load: found.add(load.source)))
    tvm_ffi.structural_walk(statement, (tirx.BufferStore, lambda store: found.add(store.buffer)))
    return memory.temporaries(found)


def stored(statement: Any) -> set[Any]:
    """Buffers that a statement writes."""
    found: set[Any] = set()
    tvm_ffi.structural_walk(statement, (tirx.BufferStore, lambda store: found.add(store.buffer)))
    return found


def changes_with(body: Any, loop: Any, memory: Memory) -> bool:
    """Whether the way in which ``body`` uses temporaries may change with the iteration."""
    changes = False

    def branch(_: Any) -> None:
        nonlocal changes
        changes = True

    def access(buffer: Any, indices: Any) -> None:
        nonlocal changes
        changes = changes or (
            bool(memory.temporaries([buffer]))
            and any(mentions(at, loop.loop_var) for at in indices)
        )

    def extent(inner: Any) -> None:
        nonlocal changes
        changes = changes or not isinstance(inner.extent, tirx.IntImm)

    def bind(_: Any) -> None:
        nonlocal changes
        changes = True

    tvm_ffi.structural_walk(body, (tirx.IfThenElse, branch))
    tvm_ffi.structural_walk(body, (tirx.Bind, bind))
    tvm_ffi.structural_walk(body, (tirx.For, extent))
    tvm_ffi.structural_walk(body, (tvm.ir.TensorLoad, lambda at: access(at.source, at.indices)))
    tvm_ffi.structural_walk(body, (tirx.BufferStore, lambda at: access(at.buffer, at.indices)))
    return changes


class _Order:
    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def visit(self, node: Any, written: set[Any]) -> tuple[set[Any], set[Any]]:
        """(read before written, written after ``node``)."""
        if isinstance(node, tirx.SeqStmt):
            read: set[Any] = set()
            for one in node.seq:
                more, written = self.visit(one, written)
                read |= more
            return read, written
        if isinstance(node, (tirx.For, tirx.AttrStmt)):
            return self.visit(node.body, written)
        if isinstance(node, tirx.IfThenElse):
            read = self._reads(node.condition) - written
            parts = [node.then_case, *([] if node.else_case is None else [node.else_case])]
            ways = [self.visit(part, written) for part in parts]
            after = ways[0][1] & ways[1][1] if len(ways) == 2 else written
            return read.union(*(way[0] for way in ways)), after
        if isinstance(node, tirx.BufferStore):
            read = self._reads(node.value).union(*(self._reads(at) for at in node.indices))
            return read - written, written | self._memory.temporaries([node.buffer])
        return self._reads(node) - written, written

    def _reads(self, expr: Any) -> set[Any]:
        found: set[Any] = set()
        tvm_ffi.structural_walk(expr, (tvm.ir.TensorLoad, lambda load: found.add(load.source)))
        return self._memory.temporaries(found)
