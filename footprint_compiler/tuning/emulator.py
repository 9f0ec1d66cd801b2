"""Measure in QEMU: executed instructions, or the cycles that a static model gives to them.

Instructions repeat exactly, whatever else the machine does, and are not time. ``pipeline`` weighs
them: it is a model of the core's issue ports, not a measurement, and is named so in every record.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from footprint_compiler.tuning.flow import Block, Read, read_blocks
from footprint_compiler.tuning.microcontroller import Microcontroller
from footprint_compiler.tuning.pipeline import pipeline_of
from footprint_compiler.tuning.processes import run_sandboxed
from footprint_compiler.tuning.protocol import COUNT, Argument
from footprint_compiler.tuning.runner import ProgramRunner
from footprint_compiler.tuning.trial import Costs, TrialFailed

TIMEOUT_S = 120.0
GUARD = 1.02
#: What calls the kernels between the two marks; not theirs.
HARNESS = ("fpc_count_begin", "fpc_count_end", "invoke", "count", "main")


class CodeModel(Protocol):
    """What code costs on a core.

    Attributes:
        name: of the model of its cycles; empty where there is none.
    """

    @property
    def name(self) -> str:
        """See above."""

    def count(self, code: bytes, address: int) -> int:
        """Instructions of a block."""

    def kernel_cycles(self, blocks: Sequence[Block], read: Read) -> float:
        """Cycles of all that a kernel executed."""


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
        counts, cycles = [0.0, 0.0], [0.0, 0.0]
        blocks = [
            block
            for block in read_blocks((folder / "blocks.txt").read_text(encoding="utf-8"))
            if block.kernel in (1, 2) and not image.in_harness(block.address)
        ]
        for block in blocks:
            code = image.read(block.address, block.size)
            counts[block.kernel - 1] += self._count(code, block.address) * block.executed
        if self.model is not None and self.model.name and (self.guarded or self.unit == "cycles"):
            for kernel in (1, 2):
                own = [block for block in blocks if block.kernel == kernel]
                cycles[kernel - 1] = self.model.kernel_cycles(own, image.read)
        if self.guarded and cycles[1] > GUARD * cycles[0]:
            raise TrialFailed("slower", f"by the model, {cycles[1] / cycles[0]:.2f} x the cycles")
        if not all(counts):
            raise TrialFailed("runner", "the plugin counted nothing")
        default, candidate = cycles if self.unit == "cycles" else counts
        return Costs(default, candidate, self.unit)

    def _count(self, code: bytes, address: int) -> float:
        arm = self.target.toolchain.zig_target.startswith(("aarch64", "arm"))
        if self.model is None or arm:
            return len(code) / 4  # every instruction of Arm has four bytes, but not of Thumb
        return self.model.count(code, address)


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
