"""Stack effects of Arm and Thumb instructions, as the disassembler prints them."""

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

_CONDITIONS = "eq ne hs lo cs cc mi pl vs vc hi ls ge lt gt le"
_BASES = """
    push pop vpush vpop vstmdb vldmia stmdb ldm ldmia str strd ldr ldrd b bl blx bx bxns cbz cbnz
    tbb tbh mov movw movt mvn add addw sub subw bic bfc and lsr lsl lsrs lsls cmp cmn tst rsb
"""
# Mnemonic -> (base, conditional): `popne.w` is a conditional `pop`, `subs` sets flags.
_KNOWN = {
    base + flags + condition: (base, bool(condition))
    for base in _BASES.split()
    for flags in ("", "s")
    for condition in ("", *_CONDITIONS.split())
} | {f"b{condition}": ("b", True) for condition in _CONDITIONS.split()}
_KNOWN |= {f"bl{condition}": ("bl", True) for condition in _CONDITIONS.split()}

_PRE_INDEX = re.compile(r"\[sp, #(-?(?:0x)?[0-9a-f]+)\]!")
_POST_INDEX = re.compile(r"\[sp\], #(-?(?:0x)?[0-9a-f]+)")
_LITERAL = re.compile(r"\[pc(?:, #(-?(?:0x)?[0-9a-f]+))?\]$")
_ALIASES = {"r13": "sp", "r14": "lr", "r15": "pc"}
# Their first operand is read, not written; without `!` a load of a list keeps its base, too.
_READERS = ("str", "stm", "vst", "ldm", "vldm", "cmp", "cmn", "tst", "teq", "it", "vcmp", "pld")


def step_arm(instruction: Instruction, state: State, code: bytes, *, thumb: bool) -> Step:
    """What ``instruction`` does to ``state``.

    Args:
        code: the section, to read constants from literal pools.
        thumb: the instruction set; decides what ``pc`` reads as.

    Raises:
        UnknownStackError: the stack pointer gets an unknown value.
    """
    mnemonic = instruction.mnemonic.removesuffix(".w").removesuffix(".n")
    operands = instruction.operands
    base, conditional = _KNOWN.get(mnemonic, (mnemonic, False))
    control = _control(base, conditional, operands, state)
    if control is not None:
        return control
    moved = _block(base, conditional, operands, state)
    if moved is not None:
        return moved
    parts = operands.split(", ")
    parts = [_ALIASES.get(part, part) for part in parts]
    if parts[0] == "pc":
        return _program_counter(base, conditional, operands, state)
    index = _PRE_INDEX.search(operands) or _POST_INDEX.search(operands)
    if index is not None:
        written = Step(state.at(state.depth - number(index[1])))
        return _maybe(written, state) if conditional else written
    if "sp!" in operands or "[sp]," in operands:
        raise UnknownStackError
    if parts[0] == "sp" and not base.startswith(_READERS):
        changed = _stack_pointer(base, parts, state)
        return _maybe(changed, state) if conditional else changed
    return Step(_registers(instruction, base, parts, state, code, thumb=thumb))


def _control(base: str, conditional: bool, operands: str, state: State) -> Step | None:
    last = operands.rsplit(", ", 1)[-1]
    target = number(last) if is_number(last) else None
    if base == "b":
        return Step(state, Flow.BRANCH if conditional else Flow.JUMP, target)
    if base in ("cbz", "cbnz"):
        return Step(state, Flow.BRANCH, target)
    if base in ("bl", "blx"):
        return Step(state, Flow.CALL if target is not None else Flow.INDIRECT_CALL, target)
    if base in ("bx", "bxns"):
        if operands in ("lr", "r14"):
            return Step(state, Flow.MAYBE_RETURN if conditional else Flow.RETURN)
        return Step(state, Flow.INDIRECT_JUMP)
    if base in ("tbb", "tbh"):
        return Step(state, Flow.INDIRECT_JUMP)
    return None


def _block(base: str, conditional: bool, operands: str, state: State) -> Step | None:
    """Push and pop of register lists."""
    on_stack = operands.startswith("sp!")
    if base in ("push", "vpush") or (on_stack and base in ("stmdb", "vstmdb")):
        size = _list_bytes(operands)
    elif base in ("pop", "vpop") or (on_stack and base in ("ldm", "ldmia", "vldmia")):
        size = -_list_bytes(operands)
    else:
        return None
    if size < 0 and re.search(r"\bpc\b", operands):
        return Step(state, Flow.MAYBE_RETURN if conditional else Flow.RETURN)
    moved = Step(state.at(state.depth + size))
    return _maybe(moved, state) if conditional else moved


def _maybe(moved: Step, state: State) -> Step:
    """Of a conditional instruction, the deeper stack: what follows runs in both cases."""
    return moved if moved.state.depth >= state.depth else Step(state)


def _list_bytes(operands: str) -> int:
    names = operands[operands.index("{") + 1 : operands.index("}")].split(", ")
    total = 0
    for name in names:
        first, _, last = name.partition("-")
        count = int(last[1:]) - int(first[1:]) + 1 if last else 1
        total += count * (8 if first[0] == "d" else 4)
    return total


def _program_counter(base: str, conditional: bool, operands: str, state: State) -> Step:
    if base == "ldr" and operands.replace("r15", "pc").startswith("pc, [sp], #"):
        return Step(state, Flow.MAYBE_RETURN if conditional else Flow.RETURN)
    if base == "mov" and operands.endswith(("lr", "r14")):
        return Step(state, Flow.MAYBE_RETURN if conditional else Flow.RETURN)
    return Step(state, Flow.INDIRECT_JUMP)


def _stack_pointer(base: str, parts: list[str], state: State) -> Step:
    in_place = len(parts) == 2 or base == "bfc"
    operands = ["sp", *parts[1:]] if in_place else parts[1:]
    if base == "mov":
        return Step(state.at(state.address(parts[1])))
    start = state.depth if operands[0] == "sp" else state.address(operands[0])
    if base in ("sub", "subw", "add", "addw") and len(operands) == 2:
        text = operands[1]
        amount = number(text) if is_number(text) else _signed(state.constant(text))
        return Step(state.at(start + (amount if base.startswith("sub") else -amount)))
    align = _cleared(base, operands)
    if align is None:
        raise UnknownStackError
    return Step(state.at(start + align))


def _registers(
    instruction: Instruction,
    base: str,
    parts: list[str],
    state: State,
    code: bytes,
    *,
    thumb: bool,
) -> State:
    """Follows copies of the stack pointer and constants in other registers."""
    name, rest = parts[0], parts[1:]
    if base == "ldr":
        literal = _LITERAL.search(instruction.operands)
        value = None
        if literal is not None:
            offset = number(literal[1]) if literal[1] else 0
            pool = (instruction.address + (4 if thumb else 8)) // 4 * 4 + offset
            value = Value(int.from_bytes(code[pool : pool + 4], "little"), is_address=False)
        return state.with_register(name, value)
    if base in ("mov", "movw", "mvn") and len(rest) == 1 and is_number(rest[0]):
        value = Value(~number(rest[0]) if base == "mvn" else number(rest[0]), is_address=False)
        return state.with_register(name, value)
    if base == "mov" and rest == ["sp"]:
        return state.with_register(name, Value(state.depth, is_address=True))
    if base == "mov" and rest and rest[0] in state.registers:
        return state.with_register(name, state.registers[rest[0]])
    source = _source(name, rest, state)
    if source is not None:
        return state.with_register(name, _derive(base, rest, source, state))
    if state.registers and not instruction.mnemonic.startswith(_READERS):
        state = state.with_register(name, None)
    return state


def _source(name: str, rest: list[str], state: State) -> Value | None:
    """The known first source of a two- or three-operand instruction."""
    first = rest[0] if len(rest) > 1 and not is_number(rest[0]) else name
    return Value(state.depth, is_address=True) if first == "sp" else state.registers.get(first)


def _derive(base: str, rest: list[str], source: Value, state: State) -> Value | None:
    text = rest[-1] if rest else ""
    if base == "movt" and not source.is_address:
        return Value(source.number & 0xFFFF | number(text) << 16, is_address=False)
    if base in ("add", "addw", "sub", "subw"):
        known = state.registers.get(text)
        if not is_number(text) and (known is None or known.is_address):
            return None
        amount = number(text) if is_number(text) else _signed(known.number if known else 0)
        sign = 1 if base.startswith("sub") == source.is_address else -1
        return source._replace(number=source.number + sign * amount)
    if source.is_address and base in ("lsr", "lsrs") and is_number(text) and not source.shift:
        return source._replace(shift=number(text))
    if base in ("lsl", "lsls") and is_number(text):
        if source.is_address and source.shift == number(text):
            return Value(source.number + (1 << source.shift), is_address=True)
        return None if source.is_address else source._replace(number=source.number << number(text))
    align = _cleared(base, ["", *rest[-2:]] if base == "bfc" else ["", text])
    if source.is_address and align is not None:
        return source._replace(number=source.number + align)
    return None


def _cleared(base: str, operands: list[str]) -> int | None:
    """How far clearing low bits can move an address down; None for anything else."""
    if base == "bfc" and len(operands) == 3 and number(operands[1]) == 0:
        return 1 << number(operands[2])
    if base == "bic" and len(operands) == 2 and is_number(operands[1]):
        mask = number(operands[1])
        return mask + 1 if mask & (mask + 1) == 0 else None
    if base == "and" and len(operands) == 2 and is_number(operands[1]):
        return -number(operands[1]) % (1 << 32)
    return None


def _signed(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value
