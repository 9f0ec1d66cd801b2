"""A static model of a core: what instructions would cost if all data were in the first-level cache.

Each instruction waits for the registers that it reads, for bytes that a store is about to write,
for a free port of its class and for its turn in the issue width (``issue``). A loop is repeated
until its time per repetition is steady; of other code, no repetition waits for the one before it.
No caches, no branch prediction, no renaming limits: a model, good for ranking candidates of one
kernel, and nothing to quote as a time.

`benchmarks/tuning_model.py` shows how well it ranks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import capstone
from capstone import arm64, x86

from footprint_compiler.targets import Target
from footprint_compiler.tuning.cores import CORES, ZEN4
from footprint_compiler.tuning.flow import MINOR, Block, Instruction, Read, find_traces
from footprint_compiler.tuning.issue import Access, Core, Step, steady_cycles

REPEATS = 8
LONG = 200
"""Code of more instructions is steady after half as many."""

_ARM_CLASSES = (
    ("branch", r"b(\.\w+|l|r|lr)?|cbn?z|tbn?z|ret"),
    ("load", r"ld.*"),
    ("store", r"st.*"),
    ("dot", r"[su]dot|usdot|sudot|[su]mmla|usmmla"),
    ("div", r"[su]div|fdiv|fsqrt"),
    ("fma", r"f(n?mul|ml[as]|n?m(add|sub))"),
    ("vperm", r"zip.|uzp.|trn.|tbl|tbx|ext|dup|ins|rev\d*|movi|mvni|[su]mov"),
)
_ARM_VECTOR_MULTIPLY = re.compile(r"[su]ml[as]l2?|ml[as]|[su]mull2?|mul|sqr?dmulh")
_ARM_SCALAR_MULTIPLY = re.compile(r"m(ul|add|sub|neg)|[su]m(ull|addl|subl|ulh|negl)")
_X86_CLASSES = (
    ("branch", r"j\w+|call|ret"),
    ("fma", r"v?fn?m(add|sub)\w*|v?mul[sp][sd]"),
    ("dot", r"vpdp\w+"),
    ("vmac", r"v?pmadd\w+"),
    ("vmul", r"v?pmul\w+"),
    ("div", r"v?(div|sqrt)[sp][sd]|i?div"),
    ("vperm", r"v?(perm|shuf|unpck|pack|punpck|pshuf|palign|broadcast|pbroadcast|insert|extract|"
              r"pinsr|pextr|pmov[sz]x|blend)\w*"),
    ("vfadd", r"v?(add|sub|max|min|round|cmp|cvt)\w*[sp][sd]\w*"),
    ("mul", r"i?mul"),
)  # fmt: skip


class Pipeline:
    """The model of one core.

    Args:
        core: its figures.
        arm: aarch64, otherwise x86-64.
    """

    def __init__(self, core: Core, arm: bool) -> None:
        self.core, self.name = core, core.name
        self._x86_64 = not arm
        self._classes = self._arm if arm else self._x86
        mode = (
            (capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
            if arm
            else (capstone.CS_ARCH_X86, capstone.CS_MODE_64)
        )
        self._engine = capstone.Cs(*mode)
        self._engine.detail = True
        patterns = _ARM_CLASSES if arm else _X86_CLASSES
        self._patterns = [(name, re.compile(text)) for name, text in patterns]
        self._known: dict[tuple[bytes, bool], float] = {}
        self._names: dict[int, str] = {}

    def count(self, code: bytes, address: int) -> int:
        """Instructions in ``code``."""
        return sum(1 for _ in self._engine.disasm_lite(code, address))

    def cycles(self, code: bytes, address: int, loops: bool = True) -> float:
        """Cycles of one steady repetition of ``code``, which ``loops`` or does not."""
        if (code, loops) not in self._known:
            steps = list(self.steps(code, address))
            repeats = REPEATS if len(steps) <= LONG else REPEATS // 2
            found = steady_cycles(self.core, steps, repeats, loops) if steps else 0.0
            self._known[code, loops] = found
        return self._known[code, loops]

    def kernel_cycles(self, blocks: Sequence[Block], read: Read) -> float:
        """Cycles of a kernel; what is hardly ever executed is only divided by the issue width."""
        traces = list(find_traces(blocks, read, self.flow))
        executed = sum(trace.instructions * trace.executed for trace in traces)
        total = 0.0
        for trace in traces:
            weight = trace.instructions * trace.executed
            if weight < MINOR * executed:
                total += weight / self.core.width
            else:
                total += self.cycles(trace.code, trace.address, trace.loops) * trace.executed
        return total

    def steps(self, code: bytes, address: int) -> Iterator[Step]:
        """The instructions of ``code``, as the core sees them."""
        for instruction in self._engine.disasm(code, address):
            reads, writes = instruction.regs_access()
            classes = self._classes(instruction)
            access = self._access(instruction)
            yield Step(classes, self._whole(reads), self._whole(writes), access)

    def flow(self, code: bytes, address: int) -> Iterator[Instruction]:
        """The instructions of ``code``, as they direct control."""
        for one in self._engine.disasm(code, address):
            branches = any(one.group(group) for group in _JUMPS)
            immediate = x86.X86_OP_IMM if self._x86_64 else arm64.ARM64_OP_IMM
            places = [part.imm for part in one.operands if part.type == immediate]
            call = one.group(capstone.CS_GRP_CALL) or one.mnemonic in ("bl", "blr")
            target = places[-1] if branches and places and not call else None
            falls = one.mnemonic not in _ONE_WAY
            yield Instruction(one.address, bytes(one.bytes), branches, target, falls)

    def _access(self, instruction: Any) -> Access | None:
        """The one address that an instruction names, where its size is known."""
        kind = x86.X86_OP_MEM if self._x86_64 else arm64.ARM64_OP_MEM
        places = [part for part in instruction.operands if part.type == kind]
        if len(places) != 1 or instruction.mnemonic in ("lea", "nop"):
            return None
        place = places[0].mem
        size = places[0].size if self._x86_64 else _arm_size(instruction)
        registers = self._whole([one for one in (place.base, place.index) if one])
        text = "+".join(
            self._names.get(one, "") if one else "" for one in (place.base, place.index)
        )
        if self._x86_64:
            text += f"*{place.scale}"
        return Access(text, registers, place.disp, size) if size else None

    def _whole(self, registers: Sequence[int]) -> frozenset[str]:
        """Register files without the names of their parts: ``q3`` and ``v3`` are one register."""
        for register in registers:
            if register not in self._names:
                self._names[register] = whole_register(self._engine.reg_name(register) or "")
        return frozenset(self._names[register] for register in registers)

    def _arm(self, instruction: Any) -> tuple[str, ...]:
        name, operands = str(instruction.mnemonic), str(instruction.op_str)
        vector = re.match(r"\{?\s*[vqds]\d", operands) is not None
        found = next((kind for kind, like in self._patterns if like.fullmatch(name)), "")
        if found in ("load", "store"):
            pair = 2 if name.startswith(("ldp", "stp")) else 1
            return (f"v{found}" if vector else found,) * pair
        if found:
            return (found if vector or found in ("branch", "div") else "int",)
        if vector:
            if not _ARM_VECTOR_MULTIPLY.fullmatch(name):
                return ("vint",)
            return ("vmac",) if re.search("ml[as]", name) else ("vmul",)
        return ("mul",) if _ARM_SCALAR_MULTIPLY.fullmatch(name) else ("int",)

    def _x86(self, instruction: Any) -> tuple[str, ...]:
        name, operands = str(instruction.mnemonic), str(instruction.op_str)
        vector = re.search(r"[xyz]mm\d", operands) is not None
        memory = "[" in operands and name != "lea"
        stores = memory and operands.split(",")[0].find("[") >= 0 and name not in ("cmp", "test")
        found = next((kind for kind, like in self._patterns if like.fullmatch(name)), "")
        moves = re.fullmatch(r"v?mov\w*", name) is not None
        classes: list[str] = []
        if memory and not stores:
            classes.append("vload" if vector else "load")
        if stores:
            classes.append("vstore" if vector else "store")
        if found and not (found == "vperm" and "broadcast" in name and memory):
            classes.append(found)
        elif not found and not (moves and memory):
            classes.append("vint" if vector else "int")
        return tuple(classes) or ("int",)


_JUMPS = (capstone.CS_GRP_JUMP, capstone.CS_GRP_RET, capstone.CS_GRP_CALL)
_ONE_WAY = ("jmp", "ret", "b", "br")
_ARM_BYTES = {"q": 16, "d": 8, "s": 4, "x": 8, "w": 4}


def _arm_size(instruction: Any) -> int:
    """Bytes that a plain load or store of whole registers moves; 0 for any other."""
    name, operands = str(instruction.mnemonic), str(instruction.op_str)
    if re.fullmatch(r"(ld|st)u?rb|ldu?rsb", name):
        return 1
    if re.fullmatch(r"(ld|st)u?rh|ldu?rsh", name):
        return 2
    if not re.fullmatch(r"(ld|st)(r|ur|p)", name):
        return 0
    return _ARM_BYTES.get(operands[0], 0) * (2 if name.endswith("p") else 1)


_LEGACY = re.compile(r"[re]?(ax|bx|cx|dx|si|di|bp|sp)l?|([abcd])[lh]|(si|di|bp|sp)l")


def whole_register(name: str) -> str:
    """``v3`` for q3, d3, ymm3; ``x3`` for w3; ``rax`` for eax and al; other names as they are."""
    if found := re.fullmatch(r"(?:[vqdshb]|[xyz]mm)(\d+)", name):
        return f"v{found[1]}"
    if found := re.fullmatch(r"[wx](\d+)", name):
        return f"x{found[1]}"
    if found := re.fullmatch(r"(r\d+)[dwb]?", name):
        return found[1]
    if found := _LEGACY.fullmatch(name):
        return f"r{found[1] or (found[2] + 'x' if found[2] else found[3])}"
    return name


def pipeline_of(target: Target) -> Pipeline | None:
    """The model of a target's core, or None where there is none."""
    triple = target.toolchain.zig_target
    if triple.startswith("x86_64"):
        return Pipeline(ZEN4, arm=False)
    if not triple.startswith("aarch64"):
        return None
    core = CORES.get(target.name) or CORES.get(str(target.tvm.get("mcpu", "")))
    return Pipeline(core, arm=True) if core else None
