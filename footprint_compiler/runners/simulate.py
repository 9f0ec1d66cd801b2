"""A second opinion on instruction counts: the harness in the Unicorn engine (extra ``[sim]``).

Unicorn has no board and no system calls; here are the few that the harness makes, over files in
memory. Counts are those of whole basic blocks, whose instructions are counted once from their
encoding: Unicorn's own hook per instruction does not see predicated ones.
"""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from elftools.elf.elffile import ELFFile

from footprint_compiler.artifact import Artifact
from footprint_compiler.errors import RunnerError, ToolchainError
from footprint_compiler.runners.boards import find_board
from footprint_compiler.runners.harness import build_harness, find_library, stated_stack_bytes
from footprint_compiler.runners.machine import Machine, machine_of
from footprint_compiler.runners.plugin import count_of, find_markers
from footprint_compiler.runners.protocol import (
    check_report,
    decode_outputs,
    decode_report,
    encode_request,
)
from footprint_compiler.runners.result import UNICORN_COUNTER, RunResult
from footprint_compiler.runtime.check import check_inputs

PAGE_BYTES = 4096
SYSTEM_CONTROL_ADDRESS = 0xE000E000

#: Numbers of the system calls of arm64 that ``port_linux.c`` makes.
OPENAT, LSEEK, READ, WRITE, EXIT_GROUP = 56, 62, 63, 64, 94

#: Operations of semihosting that ``port_semihosting.c`` asks for.
SYS_OPEN, SYS_WRITE0, SYS_WRITE, SYS_READ, SYS_SEEK, SYS_EXIT = 0x01, 0x04, 0x05, 0x06, 0x0A, 0x20
BREAKPOINT_AB = b"\xab\xbe"

#: Core of the emulated board -> name of Unicorn's model. It has no MVE, and runs no Cortex-M55.
CORES = {
    "cortex-m0": "UC_CPU_ARM_CORTEX_M0",
    "cortex-m3": "UC_CPU_ARM_CORTEX_M3",
    "cortex-m4": "UC_CPU_ARM_CORTEX_M4",
    "cortex-m7": "UC_CPU_ARM_CORTEX_M7",
    "cortex-m33": "UC_CPU_ARM_CORTEX_M33",
}


@dataclass
class Files:
    """The files of the harness, in memory."""

    contents: dict[str, bytearray]
    open_files: dict[int, tuple[str, int]] = field(default_factory=dict)

    def open(self, name: str, for_writing: bool) -> int:
        """A new handle, or -1."""
        if for_writing:
            self.contents[name] = bytearray()
        if name not in self.contents:
            return -1
        handle = 3 + len(self.open_files)
        self.open_files[handle] = (name, 0)
        return handle

    def read(self, handle: int, size: int) -> bytes:
        """At most ``size`` bytes from the position of the handle."""
        name, at = self.open_files[handle]
        data = bytes(self.contents[name][at : at + size])
        self.open_files[handle] = (name, at + len(data))
        return data

    def write(self, handle: int, data: bytes) -> None:
        """Append."""
        self.contents[self.open_files[handle][0]] += data

    def seek(self, handle: int, at: int) -> None:
        """Move to ``at`` bytes from the start."""
        self.open_files[handle] = (self.open_files[handle][0], at)


class Simulation:
    """One run of a harness."""

    def __init__(self, executable: Path, machine: Machine, files: Files) -> None:
        self.files = files
        self.begin, self.end = find_markers(executable)
        self.is_64_bit = not machine.is_bare_metal
        self.total = 0
        self.started = 0
        self.counts: list[int] = []
        self.sizes: dict[int, int] = {}
        self.status: int | None = None
        self.said = ""
        self.engine = _make_engine(machine)
        self.entry = _load(self.engine, executable, machine)

    def run(self) -> None:
        """From the entry to the exit.

        Raises:
            RunnerError: a fault, or an exit with a status other than 0.
        """
        import unicorn

        self.engine.hook_add(unicorn.UC_HOOK_BLOCK, self._on_block)
        self.engine.hook_add(unicorn.UC_HOOK_INTR, self._on_interrupt)
        try:
            self.engine.emu_start(self.entry, 0xFFFFFFFE)
        except unicorn.UcError as error:
            if self.status is None:
                raise RunnerError(f"unicorn stopped: {error}") from error
        if self.status != 0:
            raise RunnerError(f"unicorn: the program ended with {self.status}: {self.said.strip()}")

    def _on_block(self, engine: Any, address: int, size: int, _: object) -> None:
        if address == self.begin:
            self.started = self.total
        if address == self.end:
            self.counts.append(self.total - self.started)
        key = address << 16 | size
        if key not in self.sizes:
            self.sizes[key] = self._count_instructions(address, size)
        self.total += self.sizes[key]

    def _count_instructions(self, address: int, size: int) -> int:
        if self.is_64_bit:
            return size // 4
        code = bytes(self.engine.mem_read(address, size))
        at = count = 0
        while at < size:
            wide = code[at + 1] >> 3 in (0b11101, 0b11110, 0b11111)
            at += 4 if wide else 2
            count += 1
        return count

    def _on_interrupt(self, engine: Any, number: int, _: object) -> None:
        if self.is_64_bit:
            self._system_call()
        else:
            self._semihosting(number)

    def _leave(self, status: int) -> None:
        self.status = status
        self.engine.emu_stop()

    def _text(self, address: int) -> str:
        text = bytearray()
        while (byte := self.engine.mem_read(address + len(text), 1)[0]) != 0:
            text.append(byte)
        return text.decode("ascii", "replace")

    def _read_into(self, handle: int, address: int, size: int) -> int:
        data = self.files.read(handle, size)
        self.engine.mem_write(address, data)
        return len(data)

    def _system_call(self) -> None:
        from unicorn import arm64_const as arm64

        read, write = self.engine.reg_read, self.engine.reg_write
        number = read(arm64.UC_ARM64_REG_X8)
        registers = (arm64.UC_ARM64_REG_X0, arm64.UC_ARM64_REG_X1, arm64.UC_ARM64_REG_X2)
        a, b, c = (read(register) for register in registers)
        result = 0
        if number == OPENAT:
            result = self.files.open(self._text(b), bool(c & 1))
        elif number == LSEEK:
            self.files.seek(a, b)
            result = b
        elif number == READ:
            result = self._read_into(a, b, c)
        elif number == WRITE:
            self._write(a, bytes(self.engine.mem_read(b, c)))
            result = c
        elif number == EXIT_GROUP:
            self._leave(a)
        write(arm64.UC_ARM64_REG_X0, result)

    def _write(self, handle: int, data: bytes) -> None:
        if handle == 2:
            self.said += data.decode("ascii", "replace")
        else:
            self.files.write(handle, data)

    def _semihosting(self, number: int) -> None:
        from unicorn import arm_const as arm

        read, write = self.engine.reg_read, self.engine.reg_write
        pc = read(arm.UC_ARM_REG_PC)
        if bytes(self.engine.mem_read(pc & ~1, 2)) != BREAKPOINT_AB:
            self.said += f"exception {number} at {pc:#x}"
            self._leave(70)
            return
        operation, block = read(arm.UC_ARM_REG_R0), read(arm.UC_ARM_REG_R1)
        result = 0
        if operation == SYS_WRITE0:
            self.said += self._text(block)
        else:
            words = struct.unpack("<3I", bytes(self.engine.mem_read(block, 12)))
            result = self._file_operation(operation, *words)
        write(arm.UC_ARM_REG_R0, result & 0xFFFFFFFF)
        write(arm.UC_ARM_REG_PC, (pc & ~1) + 2 | 1)

    def _file_operation(self, operation: int, a: int, b: int, c: int) -> int:
        if operation == SYS_OPEN:
            return self.files.open(self._text(a), b >= 4)
        if operation == SYS_WRITE:
            self._write(a, bytes(self.engine.mem_read(b, c)))
        elif operation == SYS_READ:
            return c - self._read_into(a, b, c)
        elif operation == SYS_SEEK:
            self.files.seek(a, b)
        elif operation == SYS_EXIT:
            self._leave(b)
        return 0


def _make_engine(machine: Machine) -> Any:
    if importlib.util.find_spec("unicorn") is None:
        raise ToolchainError("unicorn is not installed", "Run `pip install 'unicorn>=2.1'`.")
    import unicorn
    from unicorn import arm64_const, arm_const

    if not machine.has_board:
        if not machine.mtriple.startswith("aarch64"):
            raise RunnerError(f"unicorn is not used for {machine.name}", "Count with QEMU.")
        engine = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        engine.ctl_set_cpu_model(arm64_const.UC_CPU_ARM64_MAX)
        return engine
    core = find_board(machine.runner.machine).cpu
    if core not in CORES:
        raise RunnerError(f"unicorn has no {core}", "Count with QEMU.")
    engine = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
    engine.ctl_set_cpu_model(getattr(arm_const, CORES[core]))
    return engine


def _load(engine: Any, executable: Path, machine: Machine) -> int:
    """Map memory, write the program there; returns the entry."""
    from unicorn import arm64_const, arm_const

    with executable.open("rb") as file:
        elf = ELFFile(file)
        segments = [part for part in elf.iter_segments() if part["p_type"] == "PT_LOAD"]
        entry = int(elf["e_entry"])
        if machine.is_bare_metal:
            regions = find_board(machine.runner.machine).regions
            for region in regions:
                engine.mem_map(region.address, region.size_bytes)
            engine.mem_map(SYSTEM_CONTROL_ADDRESS, PAGE_BYTES)
        else:
            first = min(part["p_vaddr"] for part in segments) & -PAGE_BYTES
            last = max(part["p_vaddr"] + part["p_memsz"] for part in segments)
            engine.mem_map(first, -(-(last - first + 64 * 1024) // PAGE_BYTES) * PAGE_BYTES)
        for part in segments:
            engine.mem_write(part["p_vaddr"], part.data())
    if machine.is_bare_metal:
        stack, entry = struct.unpack("<2I", bytes(engine.mem_read(regions[0].address, 8)))
        engine.reg_write(arm_const.UC_ARM_REG_SP, stack)
    else:
        top = (last + 64 * 1024) & -PAGE_BYTES
        engine.reg_write(arm64_const.UC_ARM64_REG_SP, top - 64)
        engine.reg_write(arm64_const.UC_ARM64_REG_CPACR_EL1, 3 << 20)
    return entry


def run_in_unicorn(
    artifact: Artifact, inputs: Mapping[str, np.ndarray], *, allow_nan: bool = False
) -> RunResult:
    """Execute an artifact in Unicorn and count the instructions of the second invocation.

    Raises:
        RunnerError: Unicorn has no such core, or the program failed.
        ToolchainError: Unicorn or zig is missing.
    """
    machine = machine_of(artifact)
    arrays = check_inputs(artifact.inputs, inputs, allow_nan=allow_nan)
    request = encode_request(arrays, runs=2, trap_unaligned=False)
    files = Files({"in.bin": bytearray(request)})
    weights = find_library(artifact).weights
    if weights is not None:
        files.contents["weights.bin"] = bytearray(weights.read_bytes())
    simulation = Simulation(build_harness(artifact, machine), machine, files)
    simulation.run()
    report = decode_report(bytes(files.contents["report.bin"]))
    check_report(report, stated_stack_bytes(artifact))
    return RunResult(
        outputs=decode_outputs(artifact, bytes(files.contents["out.bin"])),
        instructions=count_of(simulation.counts),
        counter=UNICORN_COUNTER,
        stack_bytes_used=report.stack_used_bytes,
        arena_bytes_touched=report.arena_touched_bytes,
    )
