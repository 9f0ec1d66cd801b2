"""A static model of a core: what a run of instructions would cost if all data were in the L1 cache.

Each instruction waits for the registers that it reads, for a free port of its class and for its
turn in the issue width; in order, also for the instruction before it. A block is repeated until its
time per repetition is steady, as the inner loop of a kernel is. No caches, no branch prediction, no
dependencies through memory, no renaming limits: a model, good for ranking candidates of one kernel,
and nothing to quote as a time.

Ports and latencies are estimates in the manner of the public optimization guides of the cores
(Cortex-A55, A72 and A76 from Arm; Zen 4 from AMD), not a transcript of their tables.
`benchmarks/tuning_model.py` shows how well they rank.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import capstone

from footprint_compiler.targets import Target

REPEATS = 6
LONG = 200
"""Blocks of more instructions are steady at once."""


@dataclass(frozen=True)
class Use:
    """How a class of instructions uses the core: a port, for so many cycles, result after."""

    port: str
    cycles: float
    latency: float


@dataclass(frozen=True)
class Core:
    """A core.

    Attributes:
        name: of the model.
        width: instructions that start in one cycle.
        in_order: none starts before the one in front of it.
        ports: name -> how many there are.
        uses: class -> use; ``int`` stands for every class that is not named.
    """

    name: str
    width: int
    in_order: bool
    ports: Mapping[str, int] = field(hash=False)
    uses: Mapping[str, Use] = field(hash=False)


_A53 = Core(
    "cortex-a53 model",
    2,
    True,
    {"int": 2, "mul": 1, "mem": 1, "vec": 1, "branch": 1},
    {
        "int": Use("int", 1, 1),
        "mul": Use("mul", 1, 4),
        "load": Use("mem", 1, 3),
        "vload": Use("mem", 2, 4),
        "store": Use("mem", 1, 1),
        "vstore": Use("mem", 2, 1),
        "branch": Use("branch", 1, 1),
        "fma": Use("vec", 2, 4),
        "vmul": Use("vec", 2, 4),
        "vmac": Use("vec", 2, 4),
        "vint": Use("vec", 1, 3),
        "vperm": Use("vec", 2, 3),
        "div": Use("vec", 12, 18),
    },
)
_A55 = Core(
    "cortex-a55 model",
    2,
    True,
    {"int": 2, "mul": 1, "load": 1, "store": 1, "vec": 1, "branch": 1},
    {
        "int": Use("int", 1, 1),
        "mul": Use("mul", 1, 3),
        "load": Use("load", 1, 3),
        "vload": Use("load", 2, 4),
        "store": Use("store", 1, 1),
        "vstore": Use("store", 1, 1),
        "branch": Use("branch", 1, 1),
        "fma": Use("vec", 1, 4),
        "vmul": Use("vec", 1, 4),
        "vmac": Use("vec", 1, 4),
        "vint": Use("vec", 1, 2),
        "vperm": Use("vec", 1, 2),
        "div": Use("vec", 10, 22),
    },
)
_A72 = Core(
    "cortex-a72 model",
    3,
    False,
    {"int": 2, "mul": 1, "load": 1, "store": 1, "vec": 2, "vmul": 1, "branch": 1},
    {
        "int": Use("int", 1, 1),
        "mul": Use("mul", 1, 3),
        "load": Use("load", 1, 4),
        "vload": Use("load", 1, 5),
        "store": Use("store", 1, 1),
        "vstore": Use("store", 1, 1),
        "branch": Use("branch", 1, 1),
        "fma": Use("vec", 1, 3),
        "vmul": Use("vmul", 1, 4),
        "vmac": Use("vmul", 1, 2),
        "vint": Use("vec", 1, 3),
        "vperm": Use("vec", 1, 3),
        "div": Use("vec", 12, 18),
    },
)
_A76 = Core(
    "cortex-a76 model",
    4,
    False,
    {"int": 3, "mul": 1, "load": 2, "store": 2, "vec": 2, "vmul": 1, "branch": 1},
    {
        "int": Use("int", 1, 1),
        "mul": Use("mul", 1, 2),
        "load": Use("load", 1, 4),
        "vload": Use("load", 1, 5),
        "store": Use("store", 1, 1),
        "vstore": Use("store", 1, 1),
        "branch": Use("branch", 1, 1),
        "fma": Use("vec", 1, 2),
        "dot": Use("vec", 1, 2),
        "vmul": Use("vmul", 1, 4),
        "vmac": Use("vmul", 1, 2),
        "vint": Use("vec", 1, 2),
        "vperm": Use("vec", 1, 2),
        "div": Use("vec", 8, 14),
    },
)
_X86 = Core(
    "zen 4 model",
    6,
    False,
    {"int": 4, "mul": 1, "load": 2, "store": 1, "fma": 2, "vadd": 2, "vec": 4, "perm": 2},
    {
        "int": Use("int", 1, 1),
        "mul": Use("mul", 1, 3),
        "load": Use("load", 1, 4),
        "vload": Use("load", 1, 6),
        "store": Use("store", 1, 1),
        "vstore": Use("store", 1, 1),
        "branch": Use("int", 1, 1),
        "fma": Use("fma", 1, 4),
        "vfadd": Use("vadd", 1, 3),
        "dot": Use("fma", 1, 4),
        "vmul": Use("fma", 1, 3),
        "vmac": Use("fma", 1, 3),
        "vint": Use("vec", 1, 1),
        "vperm": Use("perm", 1, 2),
        "div": Use("fma", 5, 11),
    },
)
CORES = {
    "cortex-a53": _A53,
    "cortex-a55": _A55,
    "cortex-a72": _A72,
    "cortex-a76": _A76,
    "arm64": _A72,
}

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


@dataclass(frozen=True)
class Step:
    """An instruction in the model: the classes that it uses, and its registers."""

    classes: tuple[str, ...]
    reads: frozenset[str]
    writes: frozenset[str]


class Pipeline:
    """The model of one core.

    Args:
        core: its figures.
        arm: aarch64, otherwise x86-64.

    Attributes:
        jump: cycles of a taken branch beyond its own: it is predicted.
    """

    jump = 0

    def __init__(self, core: Core, arm: bool) -> None:
        self.core, self.name = core, core.name
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
        self._known: dict[bytes, float] = {}
        self._names: dict[int, str] = {}

    @property
    def width(self) -> int:
        """Instructions that start in one cycle."""
        return self.core.width

    def count(self, code: bytes, address: int) -> int:
        """Instructions in ``code``."""
        return sum(1 for _ in self._engine.disasm_lite(code, address))

    def cycles(self, code: bytes, address: int) -> float:
        """Cycles of one steady repetition of ``code``."""
        if code not in self._known:
            self._known[code] = self._steady(list(self.steps(code, address)))
        return self._known[code]

    def steps(self, code: bytes, address: int) -> Iterator[Step]:
        """The instructions of ``code``."""
        for instruction in self._engine.disasm(code, address):
            reads, writes = instruction.regs_access()
            classes = self._classes(instruction)
            yield Step(classes, self._whole(reads), self._whole(writes))

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

    def _steady(self, steps: Sequence[Step]) -> float:
        if not steps:
            return 0.0
        repeats = REPEATS if len(steps) <= LONG else 2
        half = repeats // 2
        first, last = self._ends(steps, half), self._ends(steps, repeats)
        return max((last - first) / (repeats - half), len(steps) / self.core.width)

    def _ends(self, steps: Sequence[Step], repeats: int) -> float:
        """When the last of ``repeats`` runs of ``steps`` has all its results."""
        core = self.core
        ready: dict[str, float] = {}
        free = {port: [0.0] * count for port, count in core.ports.items()}
        before, end = 0.0, 0.0
        for issued, step in enumerate(list(steps) * repeats):
            start = max([issued / core.width, *(ready.get(r, 0.0) for r in step.reads)])
            if core.in_order:
                start = max(start, before)
            done = start
            for kind in step.classes:
                use = core.uses.get(kind) or core.uses["vint" if kind[0] == "v" else "int"]
                slots = free[use.port]
                at = min(range(len(slots)), key=slots.__getitem__)
                begin = max(start, slots[at])
                slots[at] = begin + use.cycles
                done = max(done, begin + use.latency)
                before = begin
            for register in step.writes:
                ready[register] = done
            end = max(end, done)
        return end


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
        return Pipeline(_X86, arm=False)
    if not triple.startswith("aarch64"):
        return None
    core = CORES.get(target.name) or CORES.get(str(target.tvm.get("mcpu", "")))
    return Pipeline(core, arm=True) if core else None
