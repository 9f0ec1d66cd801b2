"""Measure in QEMU: executed instructions, or the cycles that a static model gives to them.

Instructions repeat exactly, whatever else the machine does, and are not time. ``pipeline`` weighs
them: it is a model of the core's issue ports, not a measurement, and is named so in every record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from footprint_compiler.errors import FpcError, ToolchainError, UsageError
from footprint_compiler.runners.plugin import (
    build_plugin,
    find_functions,
    find_markers,
    plugin_arguments,
    which_qemu,
)
from footprint_compiler.runners.qemu import emulator_command, install_hint
from footprint_compiler.targets import Target
from footprint_compiler.tuning.board_program import link_board_program
from footprint_compiler.tuning.microcontroller import Microcontroller
from footprint_compiler.tuning.pipeline import pipeline_of
from footprint_compiler.tuning.processes import run_sandboxed
from footprint_compiler.tuning.protocol import COUNT, Argument
from footprint_compiler.tuning.runner import ProgramRunner
from footprint_compiler.tuning.trial import Costs, TrialFailed

TIMEOUT_S = 120.0
GUARD = 1.02
MINOR = 0.001
"""Part of all executed bytes of code below which a block is not worth the model's time."""
#: What calls the kernels between the two marks; not theirs.
HARNESS = ("fpc_count_begin", "fpc_count_end", "invoke", "count", "main")


@dataclass(frozen=True)
class Block:
    """A run of instructions that the emulator executed as one, ``executed`` times.

    ``jumped`` times it did not run on into what lies behind it.
    """

    kernel: int
    address: int
    size: int
    executed: int
    jumped: int = 0


class CodeModel(Protocol):
    """What code costs on a core.

    Attributes:
        name: of the model of its cycles; empty where there is none.
        width: instructions that start in one cycle.
        jump: cycles that a taken branch takes more.
    """

    @property
    def name(self) -> str:
        """See above."""

    @property
    def width(self) -> int:
        """See above."""

    @property
    def jump(self) -> int:
        """See above."""

    def count(self, code: bytes, address: int) -> int:
        """Instructions of a block."""

    def cycles(self, code: bytes, address: int) -> float:
        """Cycles of one of many repetitions of a block."""


class EmulatorRunner(ProgramRunner):
    """QEMU with the profiling plugin: user mode, or a board for Cortex-M.

    Args:
        target: one that names an emulator; for x86-64 it is ``qemu-x86_64``.
        model: ``cycles``, ``instructions``, or ``guarded``: instructions, but a candidate that the
            model takes for slower than the default fails. Fewer instructions are easily bought
            with longer chains of dependent ones.
    """

    mode = COUNT
    exact = True
    host = ""

    def __init__(self, target: Target, model: str = "cycles", timeout_s: float = TIMEOUT_S) -> None:
        super().__init__(target, timeout_s)
        self.model: CodeModel | None = (
            Microcontroller(target) if target.is_bare_metal else pipeline_of(target)
        )
        name = self.model.name if self.model else ""
        self.unit = "cycles" if model == "cycles" and name else "instructions"
        self.guarded = model == "guarded"
        how = "guarded by the " if self.guarded else ""
        modelled = name and (self.guarded or self.unit == "cycles")
        self.name = f"emulator ({how}{name})" if modelled else "emulator"
        self.program, self.cpu = _emulator_of(target)
        path = which_qemu(self.program)
        if path is None:
            hint = install_hint(self.program)
            raise ToolchainError(f"{self.program} is not installed", f"Run `{hint}`.")
        self.qemu = path
        self.plugin = build_plugin(path, "profile")

    def link(
        self, objects: tuple[bytes, bytes], sides: Sequence[Sequence[Argument]], folder: Path
    ) -> Path:
        """For Linux, or for the board."""
        if self.target.runner.kind == "qemu-system":
            return link_board_program(self.target, objects, sides, folder)
        return super().link(objects, sides, folder)

    def execute(self, program: Path, folder: Path) -> None:
        """Under QEMU; ``blocks.txt`` receives what the plugin saw."""
        try:
            entries = find_functions(program, ("fpc_default", "fpc_candidate"))
            plugin = plugin_arguments(
                self.plugin, find_markers(program), "blocks.txt", "entries.txt"
            )
        except FpcError as error:
            raise TrialFailed("runner", error.message) from error
        (folder / "entries.txt").write_text("".join(f"{at}\n" for at in entries), encoding="utf-8")
        command = emulator_command(self.target.runner, self.qemu, self.cpu, program, plugin)
        run_sandboxed(command, folder, self.timeout_s, memory_bytes=None)

    def read_costs(self, program: Path, folder: Path) -> Costs:
        """Sums over the blocks of each kernel."""
        image = Image(program)
        sums, cycles = [0.0, 0.0], [0.0, 0.0]
        blocks = read_blocks((folder / "blocks.txt").read_text(encoding="utf-8"))
        mine = joined(
            [
                block
                for block in blocks
                if block.kernel in (1, 2) and not image.in_harness(block.address)
            ]
        )
        executed = sum(block.size * block.executed for block in mine)
        for block in mine:
            code = image.read(block.address, block.size)
            minor = block.size * block.executed < MINOR * executed
            sums[block.kernel - 1] += self._cost(code, block, minor)
            if self.guarded and self.model is not None and self.model.name:
                cycles[block.kernel - 1] += self._modelled(code, block, minor)
        if cycles[1] > GUARD * cycles[0]:
            raise TrialFailed("slower", f"by the model, {cycles[1] / cycles[0]:.2f} x the cycles")
        if not all(sums):
            raise TrialFailed("runner", "the plugin counted nothing")
        return Costs(sums[0], sums[1], self.unit)

    def _cost(self, code: bytes, block: Block, minor: bool) -> float:
        """Of all its executions."""
        if self.unit == "cycles":
            return self._modelled(code, block, minor)
        return self._count(code, block.address) * block.executed

    def _modelled(self, code: bytes, block: Block, minor: bool) -> float:
        """Cycles; what is hardly ever executed is only divided by the issue width."""
        assert self.model is not None
        if minor:
            once = self._count(code, block.address) / self.model.width
        else:
            once = self.model.cycles(code, block.address)
        return once * block.executed + self.model.jump * block.jumped

    def _count(self, code: bytes, address: int) -> float:
        arm = self.target.toolchain.zig_target.startswith(("aarch64", "arm"))
        if self.model is None or arm:
            return len(code) / 4  # every instruction of Arm has four bytes, but not of Thumb
        return self.model.count(code, address)


def read_blocks(text: str) -> list[Block]:
    """What ``profile_plugin.c`` writes."""
    return [Block(*map(int, line.split())) for line in text.splitlines()]


def joined(blocks: Sequence[Block]) -> list[Block]:
    """Blocks that follow each other and ran equally often as one: the emulator cuts long ones.

    A model that takes a block for the body of a loop must see the whole body.
    """
    found: list[Block] = []
    for block in sorted(blocks, key=lambda one: (one.kernel, one.address)):
        last = found[-1] if found else None
        if (
            last is not None
            and (last.kernel, last.executed) == (block.kernel, block.executed)
            and last.address + last.size == block.address
        ):
            found[-1] = replace(
                last, size=last.size + block.size, jumped=last.jumped + block.jumped
            )
        else:
            found.append(block)
    return found


class Image:
    """The code of a program by address."""

    def __init__(self, program: Path) -> None:
        self._segments: list[tuple[int, bytes]] = []
        self._harness: list[tuple[int, int]] = []
        with program.open("rb") as file:
            elf = ELFFile(file)
            for segment in elf.iter_segments("PT_LOAD"):
                self._segments.append((int(segment["p_vaddr"]), segment.data()))
            mask = ~1 if elf["e_machine"] == "EM_ARM" else ~0  # the Thumb bit
            table = elf.get_section_by_name(".symtab")
            if isinstance(table, SymbolTableSection):
                for symbol in table.iter_symbols():
                    if symbol.name in HARNESS:
                        start = int(symbol["st_value"]) & mask
                        self._harness.append((start, start + int(symbol["st_size"])))

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes at ``address``.

        Raises:
            TrialFailed: they are not in the program.
        """
        for start, data in self._segments:
            if start <= address and address + size <= start + len(data):
                return data[address - start : address - start + size]
        raise TrialFailed("runner", f"code at {address:#x} is not in the program")

    def in_harness(self, address: int) -> bool:
        """Whether it belongs to what calls the kernels."""
        return any(start <= address < end for start, end in self._harness)


def _emulator_of(target: Target) -> tuple[str, str]:
    if target.runner.kind.startswith("qemu-"):
        return target.runner.program, target.runner.cpu
    if target.toolchain.zig_target.startswith("x86_64"):
        return "qemu-x86_64", "max"
    raise UsageError(f"there is no emulator to tune {target.name} in")
