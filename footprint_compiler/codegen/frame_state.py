"""The words that the per-processor rules and the analysis of frames share."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple


class UnknownStackError(Exception):
    """An instruction sets the stack pointer to something that is not known at build time."""


class Flow(Enum):
    """Where control goes after an instruction."""

    NEXT = auto()
    JUMP = auto()
    BRANCH = auto()
    CALL = auto()
    RETURN = auto()
    MAYBE_RETURN = auto()
    INDIRECT_JUMP = auto()
    INDIRECT_CALL = auto()


class Value(NamedTuple):
    """What is known of a register.

    Attributes:
        number: a constant; for an address in the frame, bytes below the entry's stack pointer.
        is_address: which of the two.
        shift: the low bits that a right shift has just dropped (Thumb-1 aligns that way).
    """

    number: int
    is_address: bool
    shift: int = 0


@dataclass(frozen=True)
class State:
    """Before an instruction.

    Attributes:
        depth: bytes between the stack pointer at entry and now; an upper bound.
        registers: those that hold a constant or an address in the frame.
    """

    depth: int = 0
    registers: dict[str, Value] = field(default_factory=dict)

    def at(self, depth: int) -> State:
        """The same with another stack pointer."""
        return State(depth, self.registers)

    def with_register(self, name: str, value: Value | None) -> State:
        """The same with one register set, or unknown for None."""
        if value is None:
            if name not in self.registers:
                return self
            rest = {key: known for key, known in self.registers.items() if key != name}
            return State(self.depth, rest)
        return State(self.depth, {**self.registers, name: value})

    def address(self, name: str) -> int:
        """Depth of the frame address in register ``name``.

        Raises:
            UnknownStackError: it holds no known one.
        """
        value = self.registers.get(name)
        if value is None or not value.is_address or value.shift:
            raise UnknownStackError
        return value.number

    def constant(self, name: str) -> int:
        """The constant in register ``name``.

        Raises:
            UnknownStackError: it holds no known one.
        """
        value = self.registers.get(name)
        if value is None or value.is_address:
            raise UnknownStackError
        return value.number


@dataclass(frozen=True)
class Step:
    """What one instruction does.

    Attributes:
        state: after it.
        flow: where control goes; ``target`` is the address for a direct jump, branch or call.
        touched: deepest byte that it accesses below the stack pointer (a red zone).
        loop_end: the following branch back ends with the stack pointer at this depth.
    """

    state: State
    flow: Flow = Flow.NEXT
    target: int | None = None
    touched: int = 0
    loop_end: int | None = None


def number(text: str) -> int:
    """An immediate as the disassembler prints it: ``0x10``, ``-8``, ``#0x10``."""
    return int(text.removeprefix("#"), 0)


def is_number(text: str) -> bool:
    """Whether ``text`` is an immediate."""
    return _NUMBER.fullmatch(text) is not None


_NUMBER = re.compile(r"#?-?(?:0x[0-9a-f]+|\d+)")
