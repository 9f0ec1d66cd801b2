"""Run an artifact in QEMU: a board with semihosting for Cortex-M, user mode for all others."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from footprint_compiler.artifact import Artifact
from footprint_compiler.errors import OutputError, RunnerError, ToolchainError
from footprint_compiler.runners.alignment import alignment_arguments, check_alignment
from footprint_compiler.runners.boards import find_board
from footprint_compiler.runners.harness import build_harness, find_library, stated_stack_bytes
from footprint_compiler.runners.machine import Machine
from footprint_compiler.runners.plugin import (
    build_plugin,
    count_of,
    find_functions,
    find_markers,
    plugin_arguments,
    which_qemu,
)
from footprint_compiler.runners.protocol import (
    check_report,
    decode_outputs,
    decode_report,
    encode_request,
)
from footprint_compiler.runners.result import QEMU_COUNTER, RunResult
from footprint_compiler.runtime.check import check_inputs
from footprint_compiler.targets import Runner

#: Debian package of each emulator.
PACKAGES = {
    "qemu-aarch64": "qemu-user",
    "qemu-arm": "qemu-user",
    "qemu-riscv32": "qemu-user",
    "qemu-system-arm": "qemu-system-arm",
}


def install_hint(program: str) -> str:
    """The command that installs an emulator."""
    return f"apt-get install {PACKAGES.get(program, program)}"


def find_qemu(program: str) -> str:
    """Path of an emulator.

    Raises:
        ToolchainError: it is not installed; the remedy is the command that does it.
    """
    path = which_qemu(program)
    if path is None:
        raise ToolchainError(f"{program} is not installed", f"Run `{install_hint(program)}`.")
    return path


def emulator_command(
    runner: Runner, qemu: str, cpu: str, executable: Path, plugin: list[str]
) -> list[str]:
    """How to start an emulator: user mode on ``cpu``, or the runner's board with semihosting.

    Raises:
        RunnerError: there is no startup code for the board.
    """
    if runner.kind != "qemu-system":
        return [qemu, "-cpu", cpu, *plugin, str(executable)]
    find_board(runner.machine)
    board = ["-M", runner.machine, "-nographic", "-monitor", "none", "-serial", "none"]
    semihosting = ["-semihosting-config", "enable=on,target=native"]
    return [qemu, *board, *semihosting, *plugin, "-kernel", str(executable)]


def run_in_qemu(
    artifact: Artifact,
    machine: Machine,
    inputs: Mapping[str, np.ndarray],
    *,
    allow_nan: bool = False,
    count: bool = False,
    timeout_s: float = 300.0,
    trap_unaligned: bool | None = None,
) -> RunResult:
    """Execute an artifact in the emulator that its target names.

    Args:
        inputs: by name, with the shape and dtype of the model.
        allow_nan: take NaN in float inputs, which is refused otherwise.
        count: run twice and count the instructions of the second invocation.
        timeout_s: after which the emulator is ended.
        trap_unaligned: make an unaligned access a fault; by default where the target's core
            would not survive one. Bare metal only; without a board, a plugin watches.

    Raises:
        InputDataError: the inputs do not fit the model.
        OutputError: temporary files cannot be written.
        RunnerError: the program failed, broke a guarantee, or took too long.
        ToolchainError: QEMU or zig is missing.
    """
    arrays = check_inputs(artifact.inputs, inputs, allow_nan=allow_nan)
    qemu = find_qemu(machine.runner.program)
    executable = build_harness(artifact, machine)
    if trap_unaligned is None:
        trap_unaligned = machine.must_align
    plugin: list[str] = []
    if count:
        plugin = plugin_arguments(build_plugin(qemu), find_markers(executable), "counts.txt")
    request = encode_request(arrays, 2 if count else 1, trap_unaligned)
    watched = trap_unaligned and machine.is_bare_metal and not machine.has_board
    if watched:
        plugin += alignment_arguments(qemu)
    command = emulator_command(machine.runner, qemu, machine.runner.cpu, executable, plugin)
    found, values = _examine(artifact, command, request, timeout_s, watched=watched)
    if not count:
        return found
    counts = list(map(int, values.split()))
    return replace(found, instructions=count_of(counts), counter=QEMU_COUNTER)


def run_profiled(
    artifact: Artifact,
    machine: Machine,
    inputs: Mapping[str, np.ndarray],
    kernels: Sequence[str],
    timeout_s: float,
) -> tuple[Path, str]:
    """Execute an artifact with the profiling plugin.

    Args:
        kernels: functions whose entry starts a share of their own.

    Returns:
        (the executable, what the plugin wrote: see ``profile_plugin.c``).

    Raises:
        As ``run_in_qemu``.
    """
    arrays = check_inputs(artifact.inputs, inputs)
    qemu = find_qemu(machine.runner.program)
    executable = build_harness(artifact, machine)
    plugin = plugin_arguments(
        build_plugin(qemu, "profile"), find_markers(executable), "counts.txt", "entries.txt"
    )
    entries = "".join(f"{address}\n" for address in find_functions(executable, kernels))
    request = encode_request(arrays, 2, machine.must_align)
    command = emulator_command(machine.runner, qemu, machine.runner.cpu, executable, plugin)
    return executable, _examine(artifact, command, request, timeout_s, entries)[1]


def run_painted(
    artifact: Artifact,
    machine: Machine,
    inputs: Mapping[str, np.ndarray],
    *,
    allow_nan: bool = False,
    timeout_s: float = 300.0,
) -> RunResult:
    """Execute an artifact of this machine as a program of its own, on painted memory.

    It runs twice, as a second run must not depend on what the first one left.

    Raises:
        As ``run_in_qemu``.
    """
    arrays = check_inputs(artifact.inputs, inputs, allow_nan=allow_nan)
    command = [str(build_harness(artifact, machine))]
    return _examine(artifact, command, encode_request(arrays, 2, False), timeout_s)[0]


def _examine(
    artifact: Artifact,
    command: list[str],
    request: bytes,
    timeout_s: float,
    entries: str = "",
    watched: bool = False,
) -> tuple[RunResult, str]:
    """Run the harness on a request; what its report says, and what the plugin wrote.

    Args:
        watched: the plugin for alignment is loaded.
    """
    with _working_folder() as folder:
        (folder / "in.bin").write_bytes(request)
        (folder / "entries.txt").write_text(entries)
        weights = find_library(artifact).weights
        if weights is not None:
            shutil.copyfile(weights, folder / "weights.bin")
        _execute(command, folder, timeout_s)
        if watched:
            check_alignment(folder)
        report = decode_report((folder / "report.bin").read_bytes())
        check_report(report, stated_stack_bytes(artifact))
        outputs = decode_outputs(artifact, (folder / "out.bin").read_bytes())
        counts = folder / "counts.txt"
        written = counts.read_text() if counts.is_file() else ""
    found = RunResult(
        outputs=outputs,
        stack_bytes_used=report.stack_used_bytes,
        arena_bytes_touched=report.arena_touched_bytes,
    )
    return found, written


@contextmanager
def _working_folder() -> Iterator[Path]:
    """A folder for the files of one run, removed afterwards."""
    try:
        with tempfile.TemporaryDirectory(prefix="fpc-run-") as name:
            yield Path(name)
    except OSError as error:
        raise OutputError(
            f"temporary files in {tempfile.gettempdir()}: {error.strerror or error}",
            "Free some space, or set TMPDIR to another folder.",
        ) from error


def _execute(command: list[str], folder: Path, timeout_s: float) -> None:
    program = Path(command[0]).name
    try:
        result = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RunnerError(
            f"{program} did not end within {timeout_s:g} s",
            "Give it more time, or a smaller model.",
        ) from error
    except OSError as error:
        raise ToolchainError(f"cannot start {program}: {error.strerror}") from error
    if result.returncode == 0 and (folder / "report.bin").is_file():
        return
    said = " / ".join((result.stderr + result.stdout).split("\n")).strip(" /")
    raise RunnerError(f"{program} {_how_it_ended(result.returncode)}: {said[:500] or 'no message'}")


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
