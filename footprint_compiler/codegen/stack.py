"""Worst-case stack of an artifact, from its machine code and the graph of its calls.

Frames are exact upper bounds (``frame.py``). Functions that are not part of the artifact are
counted by the table of ``external_stack.py``. Interrupts are not counted, and
neither is the stack of callbacks that the user gives: only functions that are named for it may call
through a pointer to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from footprint_compiler.codegen.external_stack import external_stack_bytes, is_armv6m
from footprint_compiler.codegen.frame import Call, Frame, analyse_frame
from footprint_compiler.codegen.machine_code import Function, Reference, read_functions
from footprint_compiler.errors import CodegenError

_RETURN_ADDRESS_BYTES = {"x86-64": 8}


def worst_case_stack(
    objects: Sequence[bytes], roots: Iterable[str], callbacks: Iterable[str] = ()
) -> int:
    """Most bytes of stack that a call of any function in ``roots`` takes, return address included.

    Args:
        objects: ELF relocatable objects that together define the roots.
        callbacks: global functions whose calls through a pointer reach code of the user, which
            counts its own stack; all else that they take is counted.

    Raises:
        CodegenError: recursion, a frame without a fixed size, a call whose target is unknown, or
            no object defines one of ``callbacks``.
    """
    graph = _Graph(objects, callbacks)
    return max((graph.stack_of_root(root) for root in roots), default=0)


@dataclass(frozen=True)
class _Key:
    """A function: object, section and first address."""

    object: int
    section: int
    start: int


class _Graph:
    def __init__(self, objects: Sequence[bytes], callbacks: Iterable[str]) -> None:
        self.armv6m = is_armv6m(objects)
        self.functions: dict[_Key, Function] = {}
        self.globals: dict[str, _Key] = {}
        self.known: dict[_Key, int] = {}
        self.active: list[_Key] = []
        for index, data in enumerate(objects):
            for function in read_functions(data):
                key = _Key(index, function.section, function.start)
                self.functions[key] = function
                if function.is_global:
                    self.globals[function.name] = key
        self.callbacks = {self._global(name) for name in callbacks}

    def stack_of_root(self, name: str) -> int:
        key = self._global(name)
        return self._stack(key) + _RETURN_ADDRESS_BYTES.get(self.functions[key].arch, 0)

    def _global(self, name: str) -> _Key:
        key = self.globals.get(name)
        if key is None:
            raise CodegenError(f"no object defines {name}")
        return key

    def _stack(self, key: _Key) -> int:
        """Bytes below the stack pointer at entry of one function, callees included."""
        if key in self.known:
            return self.known[key]
        if key in self.active:
            cycle = [self.functions[entry].name for entry in self.active[self.active.index(key) :]]
            raise CodegenError("recursion has no bounded stack: " + " -> ".join(cycle))
        self.active.append(key)
        function = self.functions[key]
        frame: Frame = analyse_frame(function)
        pushed = _RETURN_ADDRESS_BYTES.get(function.arch, 0)
        below = [
            call.depth + (pushed if call.pushes else 0) + self._callee(key, call)
            for call in frame.calls
        ]
        self.active.pop()
        self.known[key] = max([frame.depth, *below])
        return self.known[key]

    def _callee(self, caller: _Key, call: Call) -> int:
        target = call.target
        if isinstance(target, int):
            target = Reference("", caller.section, target)
        if target is None:
            if caller in self.callbacks:
                return 0
            return self._any_address_taken(caller)
        return self._resolve(caller, target)

    def _resolve(self, caller: _Key, target: Reference) -> int:
        if target.section is None:
            key = self.globals.get(target.name)
            if key is None:
                return external_stack_bytes(target.name, armv6m=self.armv6m)
            return self._stack(key)
        if target.name in self.globals:
            return self._stack(self.globals[target.name])
        # The addend of a call on x86-64 is relative to the end of its 4-byte displacement; the
        # low bit of an address on Arm says Thumb.
        starts = [target.offset or 0, (target.offset or 0) + 4, (target.offset or 0) & ~1]
        for start in starts:
            key = _Key(caller.object, target.section, start)
            if key in self.functions:
                return self._stack(key)
        raise CodegenError(
            f"{self.functions[caller].name} calls an address that is no function: {target}"
        )

    def _any_address_taken(self, caller: _Key) -> int:
        """A call through a register: any function whose address the caller mentions."""
        function = self.functions[caller]
        mentioned = [
            reference
            for reference in function.references.values()
            if reference.is_function and (reference.section is None or self._is_function(reference))
        ]
        if not mentioned:
            raise CodegenError(f"{function.name} calls through a pointer; its stack is unknown")
        return max(self._resolve(caller, reference) for reference in mentioned)

    def _is_function(self, reference: Reference) -> bool:
        return reference.name in self.globals
