"""Stack effects of AArch64 instructions, as the disassembler prints them."""

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

_PRE_INDEX = re.compile(r"\[sp, #(-?(?:0x)?[0-9a-f]+)\]!")
_POST_INDEX = re.compile(r"\[sp\], #(-?(?:0x)?[0-9a-f]+)")
_COMPARE = ("cmp", "cmn", "tst", "ccmp")


def step_aarch64(instruction: Instruction, state: State) -> Step:
    """What ``instruction`` does to ``state``.

    Raises:
        UnknownStackError: the stack pointer gets an unknown value.
    """
    mnemonic, operands = instruction.mnemonic, instruction.operands
    if mnemonic[0] in "bctr":
        step = _control(mnemonic, operands, state)
        if step is not None:
            return step
    parts = operands.split(", ")
    if "sp" in operands:
        index = _PRE_INDEX.search(operands) or _POST_INDEX.search(operands)
        if index is not None:
            state = state.at(state.depth - number(index[1]))
        elif parts[0] in ("sp", "wsp"):
            return _stack_pointer(mnemonic, parts, state)
        elif "[sp]," in operands:
            raise UnknownStackError
        elif parts[-1] == "sp" and mnemonic == "mov":
            return Step(state.with_register(parts[0], Value(state.depth, is_address=True)))
        elif len(parts) > 1 and parts[1] == "sp" and mnemonic in ("add", "sub"):
            return Step(_derive(mnemonic, parts, state))
    elif mnemonic in ("mov", "movz") and len(parts) > 1 and is_number(parts[1]):
        return Step(state.with_register(_full(parts[0]), Value(_immediate(parts[1:]), False)))
    elif mnemonic == "movk" and _full(parts[0]) in state.registers:
        return Step(_insert(parts, state))
    elif mnemonic in ("add", "sub") and len(parts) > 2 and parts[1] in state.registers:
        return Step(_derive(mnemonic, parts, state))
    if state.registers and mnemonic[:2] != "st" and mnemonic not in _COMPARE:
        state = state.with_register(_full(parts[0]), None)
        if mnemonic.startswith("ldp") and len(parts) > 1:
            state = state.with_register(_full(parts[1]), None)
    return Step(state)


def _control(mnemonic: str, operands: str, state: State) -> Step | None:
    last = operands.rsplit(", ", 1)[-1]
    target = number(last) if is_number(last) else None
    if mnemonic == "bl":
        return Step(state, Flow.CALL, target)
    if mnemonic == "b":
        return Step(state, Flow.JUMP, target)
    if mnemonic.startswith("b.") or mnemonic in ("cbz", "cbnz", "tbz", "tbnz"):
        return Step(state, Flow.BRANCH, target)
    if mnemonic in ("ret", "retaa", "retab"):
        return Step(state, Flow.RETURN)
    if mnemonic.startswith("blr"):
        return Step(state, Flow.INDIRECT_CALL)
    if mnemonic in ("br", "braa", "brab", "braaz", "brabz"):
        return Step(state, Flow.INDIRECT_JUMP)
    return None


def _stack_pointer(mnemonic: str, parts: list[str], state: State) -> Step:
    if mnemonic in _COMPARE:
        loop_end = state.registers.get(parts[1])
        return Step(state, loop_end=loop_end.number if loop_end and loop_end.is_address else None)
    if mnemonic == "mov":
        return Step(state.at(state.address(parts[1])))
    base = state.depth if parts[1] == "sp" else state.address(parts[1])
    if mnemonic in ("sub", "add"):
        amount = _amount(parts[2:], state)
        return Step(state.at(base + (amount if mnemonic == "sub" else -amount)))
    if mnemonic == "and" and is_number(parts[2]):
        return Step(state.at(base + -number(parts[2]) % (1 << 64)))
    raise UnknownStackError


def _derive(mnemonic: str, parts: list[str], state: State) -> State:
    """A register becomes a frame address (or a known sum) plus or minus something."""
    try:
        amount = _amount(parts[2:], state)
    except UnknownStackError:
        return state.with_register(parts[0], None)
    sign = 1 if mnemonic == "sub" else -1
    if parts[1] == "sp":
        value = Value(state.depth + sign * amount, is_address=True)
    else:
        known = state.registers[parts[1]]
        change = sign * amount if known.is_address else -sign * amount
        value = known._replace(number=known.number + change)
    return state.with_register(parts[0], value)


def _insert(parts: list[str], state: State) -> State:
    name = _full(parts[0])
    known = state.registers[name]
    shift = number(parts[2].removeprefix("lsl ")) if len(parts) > 2 else 0
    merged = known.number & ~(0xFFFF << shift) | number(parts[1]) << shift
    return state.with_register(name, None if known.is_address else Value(merged, False))


def _amount(parts: list[str], state: State) -> int:
    return _immediate(parts) if is_number(parts[0]) else _register(parts, state)


def _immediate(parts: list[str]) -> int:
    shift = number(parts[1].removeprefix("lsl ")) if len(parts) > 1 else 0
    return number(parts[0]) << shift


def _register(parts: list[str], state: State) -> int:
    if len(parts) > 1:
        raise UnknownStackError
    return state.constant(_full(parts[0]))


def _full(register: str) -> str:
    return "x" + register[1:] if register.startswith("w") else register
