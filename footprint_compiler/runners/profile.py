"""Where the instructions of an inference go: kernel by kernel, exactly, in the emulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from footprint_compiler.artifact import Artifact
from footprint_compiler.errors import RunnerError, UsageError
from footprint_compiler.runners.cycles import Step, block_cycles, has_model, jump_cycles
from footprint_compiler.runners.decode import Decoder
from footprint_compiler.runners.machine import Machine, machine_of
from footprint_compiler.runners.qemu import run_profiled

#: What the harness itself executes between the marks.
_HARNESS = ("measured", "call_on_stack", "fpc_count_begin", "fpc_count_end")

_UNKNOWN_VECTORS = ("cortex-m55",)


@dataclass(frozen=True)
class Share:
    """What one kernel executes in one inference, with the functions that it calls.

    Attributes:
        kernel: C symbol; the name of the entry function for what belongs to no kernel.
        layers: ONNX nodes that it computes, of all its calls.
        macs: multiply-accumulates of all its calls.
        instructions: executed.
        loads, stores: registers moved from and to memory.
        multiplies: instructions that multiply; None where the disassembler does not know the
            core's vector extension.
        jumps: branches taken.
        cycles: by the model of ``cycles``; None where there is none for the core.
    """

    kernel: str
    layers: tuple[str, ...]
    macs: int
    instructions: int = 0
    loads: int = 0
    stores: int = 0
    multiplies: int | None = None
    jumps: int = 0
    cycles: int | None = None


@dataclass(frozen=True)
class _Block:
    kernel: int
    address: int
    size: int
    executed: int
    jumped: int


def profile(
    artifact: Artifact,
    inputs: Mapping[str, np.ndarray],
    *,
    wait_states: int = 0,
    timeout_s: float = 600.0,
) -> tuple[Share, ...]:
    """Profile one invocation of an artifact for an emulated target.

    Args:
        inputs: by name, with the model's shapes and dtypes.
        wait_states: of the flash, for the estimate of cycles.
        timeout_s: limit for the emulator.

    Returns:
        One share per kernel in the order of the first call, the entry function last. The
        instructions add up to what ``run(..., count=True)`` counts.

    Raises:
        As ``run``; UsageError for an artifact of this machine.
    """
    machine = machine_of(artifact)
    if machine.runner.kind == "local":
        raise UsageError(
            f"kernels are profiled in an emulator, and {machine.name} runs on this machine",
            "Build for arm64, armv7, a Cortex-M or an ESP32.",
        )
    rows: dict[str, list[Mapping[str, object]]] = {}
    for layer in artifact.manifest["layers"]:
        for row in layer.get("stages", [layer]):
            rows.setdefault(str(row["kernel"]), []).append(row)
    kernels = list(rows)
    executable, text = run_profiled(artifact, machine, inputs, kernels, timeout_s)
    blocks = [_Block(*map(int, line.split())) for line in text.splitlines()]
    if not blocks:
        raise RunnerError("the plugin counted nothing", "Is this QEMU built with plugins?")
    sums = _add_up(executable, machine, blocks, wait_states, artifact.name)
    found = []
    for number, kernel in enumerate([*kernels, f"{artifact.name}_invoke"], 1):
        calls = rows.get(kernel, [])
        found.append(
            Share(
                kernel,
                tuple(str(node) for row in calls for node in _list(row["layers"])),
                sum(int(str(row["macs"])) for row in calls),
                **sums.get(number if calls else 0, {}),
            )
        )
    return tuple(found)


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else []


def _add_up(
    executable: Path, machine: Machine, blocks: Sequence[_Block], wait_states: int, name: str
) -> dict[int, dict[str, int]]:
    """Totals by number of the kernel, 0 for the entry function."""
    image = _Image(executable, name)
    decoder = Decoder(_instruction_set(machine))
    core = machine.mcpu if has_model(machine.mcpu) else ""
    known: dict[tuple[int, int], list[Step]] = {}
    sums: dict[int, dict[str, int]] = {}
    for block in blocks:
        if image.is_harness(block.address):
            continue
        place = (block.address, block.size)
        if place not in known:
            known[place] = decoder.steps(image.read(*place), block.address)
        steps = known[place]
        total = sums.setdefault(0 if image.is_entry(block.address) else block.kernel, {})
        worth = {
            "instructions": len(steps) * block.executed,
            "loads": sum(step.loads for step in steps) * block.executed,
            "stores": sum(step.stores for step in steps) * block.executed,
            "jumps": block.jumped,
        }
        if machine.mcpu not in _UNKNOWN_VECTORS:
            worth["multiplies"] = sum(step.multiplies for step in steps) * block.executed
        if core:
            once = block_cycles(core, steps, wait_states)
            worth["cycles"] = once * block.executed + block.jumped * jump_cycles(core, wait_states)
        for key, value in worth.items():
            total[key] = total.get(key, 0) + value
    return sums


def _instruction_set(machine: Machine) -> str:
    triple = machine.mtriple
    for name in ("thumb", "riscv32"):
        if triple.startswith(name):
            return name
    return "aarch64" if triple.startswith("aarch64") else "arm"


class _Image:
    """The executable's code by address, and whose it is."""

    def __init__(self, executable: Path, name: str) -> None:
        self._segments: list[tuple[int, bytes]] = []
        self._harness: list[tuple[int, int]] = []
        self._entry: list[tuple[int, int]] = []
        with executable.open("rb") as file:
            elf = ELFFile(file)
            for segment in elf.iter_segments("PT_LOAD"):
                self._segments.append((int(segment["p_vaddr"]), segment.data()))
            table = elf.get_section_by_name(".symtab")
            symbols = table.iter_symbols() if isinstance(table, SymbolTableSection) else ()
            thumb = 1 if elf["e_machine"] == "EM_ARM" else 0
            for symbol in symbols:
                start = int(symbol["st_value"]) & ~thumb
                span = (start, start + max(int(symbol["st_size"]), 2))
                if symbol.name in _HARNESS:
                    self._harness.append(span)
                elif symbol.name == f"{name}_invoke":
                    self._entry.append(span)

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes of code at ``address``."""
        for start, data in self._segments:
            if start <= address and address + size <= start + len(data):
                return data[address - start : address - start + size]
        raise RunnerError(f"code was executed at {address:#x}, which is not in the program")

    def is_harness(self, address: int) -> bool:
        """Whether the harness executes it."""
        return any(start <= address < end for start, end in self._harness)

    def is_entry(self, address: int) -> bool:
        """Whether it belongs to the entry function."""
        return any(start <= address < end for start, end in self._entry)
