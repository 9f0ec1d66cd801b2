"""Stack effects of x86-64 instructions, as the disassembler prints them (Intel syntax)."""

from __future__ import annotations

import re

from footprint_compiler.codegen.frame_state import (
    Flow,
    State,
    Step,
    UnknownStackError,
    Value,
    is_number,
    number,
)
from footprint_compiler.codegen.machine_code import Instruction

_ADDRESS = re.compile(r"\[(\w+)(?: ([+-]) (0x[0-9a-f]+|\d+))?\]$")
# An index starts at the lowest element, so that a negative displacement is the deepest byte.
_FRAME_ACCESS = re.compile(r"\[(rsp|rbp)(?: \+ \w+(?:\*\d)?)? - (0x[0-9a-f]+|\d+)\]")
_READ_ONLY = ("cmp", "test", "bt")
_WRITES_NOTHING = (*_READ_ONLY, "nop", "prefetch", "endbr64")


def step_x86(instruction: Instruction, state: State) -> Step:
    """What ``instruction`` does to ``state``.

    Raises:
        UnknownStackError: the stack pointer gets an unknown value.
    """
    mnemonic, operands = instruction.mnemonic, instruction.operands
    if mnemonic[0] in "jclr" or mnemonic.startswith(("bnd ", "notrack ", "rep")):
        flow = _control(mnemonic.removeprefix("bnd ").removeprefix("notrack "), operands, state)
        if flow is not None:
            return flow
    if "sp" not in operands and mnemonic[:4] not in ("push", "pop", "leav", "popf"):
        return _other(mnemonic, operands, state)
    if mnemonic.startswith("push"):
        return Step(state.at(state.depth + (2 if mnemonic == "pushw" else 8)))
    if mnemonic.startswith("pop"):
        if operands == "rsp":
            raise UnknownStackError
        return Step(state.with_register(operands, None).at(state.depth - 8))
    if mnemonic == "leave":
        return Step(state.with_register("rbp", None).at(state.address("rbp") - 8))
    return _stack_pointer(mnemonic, operands, state)


def _control(mnemonic: str, operands: str, state: State) -> Step | None:
    target = number(operands) if operands and is_number(operands) else None
    if mnemonic == "call":
        return Step(state, Flow.CALL if target is not None else Flow.INDIRECT_CALL, target)
    if mnemonic == "jmp":
        return Step(state, Flow.JUMP if target is not None else Flow.INDIRECT_JUMP, target)
    if mnemonic in ("ret", "retq", "repz ret", "rep ret"):
        return Step(state, Flow.RETURN)
    if mnemonic.startswith(("j", "loop")) and target is not None:
        return Step(state, Flow.BRANCH, target)
    return None


def _stack_pointer(mnemonic: str, operands: str, state: State) -> Step:
    first, _, rest = operands.partition(", ")
    if first not in ("rsp", "esp", "sp"):
        if mnemonic == "xchg":
            raise UnknownStackError
        return _other(mnemonic, operands, state)
    if mnemonic in _READ_ONLY:
        loop_end = None
        if mnemonic == "cmp" and rest in state.registers:
            loop_end = state.address(rest)
        return Step(state, loop_end=loop_end)
    if first != "rsp":
        raise UnknownStackError
    if mnemonic in ("sub", "add"):
        amount = number(rest) if is_number(rest) else state.constant(rest)
        return Step(state.at(state.depth + (amount if mnemonic == "sub" else -amount)))
    if mnemonic == "and" and is_number(rest):
        # At most align - 8 bytes, for the stack pointer is a multiple of 8.
        align = -number(rest) % (1 << 64)
        return Step(state.at(state.depth + align))
    if mnemonic == "mov":
        return Step(state.at(state.address(rest)))
    if mnemonic == "lea":
        return Step(state.at(_frame_address(rest, state)))
    raise UnknownStackError


def _other(mnemonic: str, operands: str, state: State) -> Step:
    """Everything that leaves the stack pointer alone; follows copies of it, and constants."""
    first, _, rest = operands.partition(", ")
    touched = 0
    if mnemonic != "lea" and " - " in operands:
        access = _FRAME_ACCESS.search(operands)
        if access is not None and (access[1] == "rsp" or access[1] in state.registers):
            base = state.depth if access[1] == "rsp" else state.address(access[1])
            touched = base + number(access[2])
    if mnemonic == "mov" and rest == "rsp":
        return Step(state.with_register(first, Value(state.depth, is_address=True)))
    if mnemonic in ("mov", "movabs") and is_number(rest) and "[" not in first:
        return Step(state.with_register(_full(first), Value(number(rest), is_address=False)))
    if mnemonic == "lea" and _ADDRESS.match(rest):
        try:
            value = Value(_frame_address(rest, state), is_address=True)
        except UnknownStackError:
            return Step(state.with_register(first, None))
        return Step(state.with_register(first, value))
    if state.registers and mnemonic not in _WRITES_NOTHING:
        state = state.with_register(_full(first), None)
    return Step(state, touched=touched)


def _frame_address(text: str, state: State) -> int:
    match = _ADDRESS.match(text)
    if match is None:
        raise UnknownStackError
    offset = number(match[3]) if match[3] else 0
    base = state.depth if match[1] == "rsp" else state.address(match[1])
    return base - offset if match[2] == "+" else base + offset


def _full(register: str) -> str:
    """The 64-bit register of a 32-bit name: a write to the half clears the rest."""
    if register.startswith("e"):
        return "r" + register[1:]
    return register.removesuffix("d") if register[:2] in _NUMBERED else register


_NUMBERED = ("r8", "r9", "r1")
