"""What instructions do, as far as a profile counts it: loads, stores, products, branches."""

from __future__ import annotations

import re
from typing import Any

import capstone

from footprint_compiler.runners.cycles import Step

_THUMB = (
    capstone.CS_ARCH_ARM,
    capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS | capstone.CS_MODE_V8,
)
_MODES = {
    "thumb": _THUMB,
    "arm": (capstone.CS_ARCH_ARM, capstone.CS_MODE_ARM | capstone.CS_MODE_V8),
    "aarch64": (capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM),
    "riscv32": (capstone.CS_ARCH_RISCV, capstone.CS_MODE_RISCV32 | capstone.CS_MODE_RISCVC),
}
_PRODUCT = re.compile(
    r"mul|mla|mls|smul|smla|smml|smmul|smuad|smusd|smlad|smlsd|umul|umla|umaal|[us]mull|[us]mlal"
    r"|madd|msub|mneg|smadd|umadd|smsub|[us]mulh|v(n?ml[as]|n?mul|n?fn?m[as]|q?r?dmulh|dot|mmla)"
    r"|f(mul|mla|mls|n?madd|n?msub)|[us]dot|[us]mmla|sqr?dmulh"
)
_DIVISION = re.compile(r"[us]div")
_FLOAT_DIVISION = re.compile(r"v(div|sqrt)|f(div|sqrt)")
_FLOAT = re.compile(r"v(add|sub|n?mul|cvt\w*)\.")
_FUSED = re.compile(r"v(fn?m[as]|n?ml[as])")
_BRANCH = re.compile(
    r"b(l|x|lx|r|lr)?(\.\w+|eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)?(\.w)?"
)
_RISCV_JUMP = re.compile(r"b(eq|ne|lt|ge|gt|le)u?z?|jalr?|jr?|ret")
_RISCV_LOAD = re.compile(r"(l[bhw]u?|f?lwsp|flw|f?ldsp|fld)")
_RISCV_STORE = re.compile(r"(s[bhw]|f?swsp|fsw|f?sdsp|fsd)")
_RISCV_PRODUCT = re.compile(r"mul|fn?m(ul|add|sub)\.")
_RISCV_DIVISION = re.compile(r"f?(div|sqrt)|rem")
_OTHER_BRANCHES = ("cbz", "cbnz", "tbb", "tbh", "tbz", "tbnz", "ret", "le", "wls", "dls")


class Decoder:
    """Turns the bytes of a block into steps.

    Args:
        instruction_set: ``thumb``, ``arm``, ``aarch64`` or ``riscv32``.
    """

    def __init__(self, instruction_set: str) -> None:
        self._arm = instruction_set in ("arm", "thumb")
        self._riscv = instruction_set == "riscv32"
        self._thumb = instruction_set == "thumb"
        self._engine = capstone.Cs(*_MODES[instruction_set])
        self._engine.detail = True

    def steps(self, code: bytes, address: int) -> list[Step]:
        """One step per instruction; what capstone does not know is told by its encoding."""
        found: list[Step] = []
        position = 0
        while position < len(code):
            before = position
            for instruction in self._engine.disasm(code[position:], address + position):
                found.append(_riscv(instruction) if self._riscv else self._step(instruction))
                position += instruction.size
            if position == before or position < len(code):
                step, size = self._unknown(code[position:])
                if size == 0:
                    break
                found.append(step)
                position += size
        return found

    def _step(self, instruction: Any) -> Step:
        name = instruction.mnemonic
        reads, writes = instruction.regs_access()
        loads, stores = self._moved(name, instruction.op_str)
        kind = ""
        if _BRANCH.fullmatch(name) or name.removesuffix(".w") in _OTHER_BRANCHES:
            kind = "branch"
        elif _DIVISION.match(name):
            kind = "divide"
        elif _FLOAT_DIVISION.match(name):
            kind = "float-divide"
        elif self._arm and _FUSED.match(name):
            kind = "fused"
        elif self._thumb and _FLOAT.match(name):
            kind = "float"
        return Step(
            loads,
            stores,
            bool(_PRODUCT.match(name)),
            kind,
            bool(loads) and "[pc" in instruction.op_str,
            frozenset(reads),
            frozenset(writes),
        )

    def _moved(self, name: str, operands: str) -> tuple[int, int]:
        """(registers loaded, registers stored); on Cortex-M, a double register counts as two."""
        doubles = self._thumb and re.search(r"(?:^|\{)d\d", operands) is not None
        if doubles and name.startswith(("vldr", "vldm", "vpop")):
            return 2 * _listed(operands), 0
        if doubles and name.startswith(("vstr", "vstm", "vpush")):
            return 0, 2 * _listed(operands)
        if name.startswith(("ldm", "pop", "vldm", "vpop", "vld1", "ld1", "ld2", "ld3", "ld4")):
            return _listed(operands), 0
        if name.startswith(("stm", "push", "vstm", "vpush", "vst1", "st1", "st2", "st3", "st4")):
            return 0, _listed(operands)
        if name.startswith(("ldrd", "ldp", "ldnp")):
            return 2, 0
        if name.startswith(("strd", "stp", "stnp")):
            return 0, 2
        if name.startswith(("ldr", "ldur", "vldr", "vld")):
            return 1, 0
        if name.startswith(("str", "stur", "vstr", "vst")):
            return 0, 1
        return 0, 0

    def _unknown(self, code: bytes) -> tuple[Step, int]:
        """A step from the encoding alone: loads and stores of the vector extension of Armv8.1-M.

        Source: Armv8-M Architecture Reference Manual, 32-bit encodings with a coprocessor: bit 4
        of the first halfword tells a load, bit 9 to 11 the group.
        """
        if self._riscv and code[:1] and code[0] & 3 != 3:
            return Step(), 2 if len(code) >= 2 else 0
        if not self._thumb:
            return Step(), 4 if len(code) >= 4 else 0
        first = int.from_bytes(code[:2], "little")
        long = first >> 11 in (0b11101, 0b11110, 0b11111)
        size = 4 if long else 2
        if len(code) < size:
            return Step(), 0
        if long and first & 0xEE00 == 0xEC00:
            load = bool(first & 0x10)
            return Step(loads=int(load), stores=int(not load)), size
        return Step(), size


def _riscv(instruction: Any) -> Step:
    """A step of RISC-V, where a name says all; compressed instructions are their long forms."""
    name = instruction.mnemonic.removeprefix("c.")
    kind = ""
    if _RISCV_JUMP.fullmatch(name):
        kind = "branch"
    elif _RISCV_DIVISION.match(name):
        kind = "float-divide" if name.startswith("f") else "divide"
    return Step(
        int(_RISCV_LOAD.fullmatch(name) is not None),
        int(_RISCV_STORE.fullmatch(name) is not None),
        _RISCV_PRODUCT.match(name) is not None,
        kind,
    )


def _listed(operands: str) -> int:
    """Registers in braces: ``{r4, r5, lr}``, ``{d0-d3}`` or ``{v0.16b, v1.16b}[0]``."""
    found = re.search(r"\{(.*?)\}", operands)
    if found is None:
        return 1
    count = 0
    for part in found[1].split(","):
        span = re.match(r"\s*[a-z]+(\d+)(?:\.\w+)?\s*-\s*[a-z]+(\d+)", part)
        count += int(span[2]) - int(span[1]) + 1 if span else 1
    return count
