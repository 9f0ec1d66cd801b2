"""Stack effects of 32-bit RISC-V instructions, as the disassembler prints them.

Compressed instructions do what their long forms do: the prefix ``c.`` is dropped. Source: The
RISC-V Instruction Set Manual, volume I, and the RISC-V ABIs specification (what a call keeps).
"""

from __future__ import annotations

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

_KEPT = frozenset({"sp", "gp", "tp", *(f"s{index}" for index in range(12))})
"""Registers that a called function gives back as they were."""

_STORES = ("sb", "sh", "sw", "swsp", "fsw", "fsd", "fswsp", "fsdsp")
_ADDS = ("addi", "add", "addi16sp", "addi4spn")


def step_riscv(instruction: Instruction, state: State) -> Step:
    """What ``instruction`` does to ``state``.

    Raises:
        UnknownStackError: the stack pointer gets an unknown value.
    """
    name = instruction.mnemonic.removeprefix("c.")
    parts = instruction.operands.split(", ")
    step = _control(name, parts, instruction.address, state)
    if step is not None:
        return step
    if name in _STORES or not parts[0]:
        return Step(state)
    value = _result(name, parts, state)
    if parts[0] != "sp":
        return Step(state.with_register(parts[0], value))
    if value is None or not value.is_address:
        raise UnknownStackError
    return Step(state.at(value.number))


def _control(name: str, parts: list[str], address: int, state: State) -> Step | None:
    """The step of a jump, call or branch; their targets are printed relative to themselves."""
    target = address + number(parts[-1]) if is_number(parts[-1]) else None
    if name in ("j", "jal"):
        link = "ra" if name == "jal" else "zero"
        if len(parts) > 1:
            link = parts[0]
        return Step(state, Flow.JUMP, target) if link == "zero" else _call(Flow.CALL, target, state)
    if name == "ret" or (name == "jr" and parts[0] == "ra"):
        return Step(state, Flow.RETURN)
    if name == "jr" or (name == "jalr" and parts[0] == "zero"):
        return Step(state, Flow.INDIRECT_JUMP)
    if name == "jalr":
        return _call(Flow.INDIRECT_CALL, None, state)
    if name.startswith("b") and target is not None:
        return Step(state, Flow.BRANCH, target)
    return None


def _call(flow: Flow, target: int | None, state: State) -> Step:
    kept = {name: value for name, value in state.registers.items() if name in _KEPT}
    return Step(State(state.depth, kept), flow, target)


def _result(name: str, parts: list[str], state: State) -> Value | None:
    """What is known of the register that an instruction writes."""
    if name == "mv" and len(parts) == 2:
        return _register(parts[1], state)
    if name == "li":
        return _constant(number(parts[1]))
    if name == "lui":
        return _constant(number(parts[1]) << 12)
    if name in _ADDS or name == "sub":
        first, second = (parts[0], parts[1]) if len(parts) == 2 else (parts[1], parts[2])
        return _sum(_register(first, state), _operand(second, state), subtract=name == "sub")
    if name == "andi" and number(parts[-1]) < 0:
        base = _register(parts[-2], state)
        if base is not None and base.is_address:
            # Down to a multiple: at most so many bytes lower.
            return base._replace(number=base.number + -number(parts[-1]) - 1)
    return None


def _constant(value: int) -> Value:
    """A constant of 32 bits with its sign."""
    return Value((value + 2**31) % 2**32 - 2**31, is_address=False)


def _register(name: str, state: State) -> Value | None:
    if name == "sp":
        return Value(state.depth, is_address=True)
    return _constant(0) if name == "zero" else state.registers.get(name)


def _operand(text: str, state: State) -> Value | None:
    return _constant(number(text)) if is_number(text) else _register(text, state)


def _sum(one: Value | None, other: Value | None, *, subtract: bool) -> Value | None:
    """An address and a constant are an address: so many bytes below the stack pointer at entry."""
    if one is None or other is None:
        return None
    if other.is_address and not subtract:
        one, other = other, one
    if other.is_address:
        return None
    amount = -other.number if subtract else other.number
    if one.is_address:
        return one._replace(number=one.number - amount)
    return _constant(one.number + amount)
