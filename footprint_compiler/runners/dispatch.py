"""The one door to every runner: what the manifest of an artifact says decides."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from footprint_compiler.artifact import Artifact
from footprint_compiler.errors import UsageError
from footprint_compiler.runners.local import bench_locally, run_locally, why_not_local
from footprint_compiler.runners.machine import machine_of, machine_of_target
from footprint_compiler.runners.plugin import which_qemu
from footprint_compiler.runners.qemu import install_hint, run_in_qemu
from footprint_compiler.runners.result import (
    QEMU_COUNTER,
    UNICORN_COUNTER,
    BenchResult,
    RunResult,
)
from footprint_compiler.runners.simulate import run_in_unicorn
from footprint_compiler.targets import Target


def available(target: Target) -> tuple[bool, str]:
    """Whether artifacts of ``target`` can run here.

    Returns:
        (True, "") or (False, what is missing and how to get it).
    """
    if target.runner.kind == "local":
        problem = why_not_local(machine_of_target(target))
        return problem is None, problem or ""
    program = target.runner.program
    if which_qemu(program) is None:
        return False, f"{program} is not installed: {install_hint(program)}"
    return True, ""


def run(
    artifact: Artifact,
    inputs: Mapping[str, np.ndarray],
    count: bool = False,
    *,
    counter: str = QEMU_COUNTER,
    allow_nan: bool = False,
    timeout_s: float = 300.0,
) -> RunResult:
    """Run an artifact once, on this machine or in the emulator of its target.

    Args:
        artifact: a finished build.
        inputs: by name, with the model's shapes and dtypes.
        count: also count the instructions of one invocation; in an emulator only.
        counter: ``"qemu-plugin"``, or ``"unicorn"`` for a second opinion (extra ``[sim]``).
        allow_nan: take NaN in float inputs, which is refused otherwise.
        timeout_s: limit for an emulator.

    Raises:
        InputDataError: a missing, unknown or ill-shaped input.
        RunnerError: the code did not run to its end, or broke a guarantee.
        ToolchainError: an emulator is missing; the remedy is the command that installs it.
        UsageError: ``count`` on real hardware, or an unknown counter.
    """
    if counter not in (QEMU_COUNTER, UNICORN_COUNTER):
        raise UsageError(f"no counter {counter!r}; there are {QEMU_COUNTER}, {UNICORN_COUNTER}")
    machine = machine_of(artifact)
    if machine.runner.kind != "local":
        if count and counter == UNICORN_COUNTER:
            return run_in_unicorn(artifact, inputs, allow_nan=allow_nan)
        return run_in_qemu(
            artifact, machine, inputs, count=count, allow_nan=allow_nan, timeout_s=timeout_s
        )
    if count:
        raise UsageError(
            f"instructions are counted in an emulator, and {machine.name} runs on this machine",
            "Build for arm64, armv7, a Cortex-M or an ESP32, or measure time instead.",
        )
    return run_locally(artifact, machine, inputs, allow_nan=allow_nan)


def bench(
    artifact: Artifact,
    inputs: Mapping[str, np.ndarray],
    *,
    repeats: int = 200,
    warmup: int = 10,
    max_seconds: float = 10.0,
    counter: str = QEMU_COUNTER,
    timeout_s: float = 600.0,
) -> BenchResult:
    """Measure an artifact: times of one invocation here, instructions in an emulator.

    Args:
        repeats, warmup: invocations measured, and before that not measured.
        max_seconds: stop measuring after this time, with at least 3 invocations.
        counter: as in ``run``.
        timeout_s: limit for an emulator.

    Raises:
        As ``run``; UsageError when ``repeats`` is below 1.
    """
    if repeats < 1 or warmup < 0:
        raise UsageError(f"cannot measure {repeats} repeats after {warmup} for warm-up")
    machine = machine_of(artifact)
    if machine.runner.kind == "local":
        return bench_locally(
            artifact, machine, inputs, repeats=repeats, warmup=warmup, max_seconds=max_seconds
        )
    found = run(artifact, inputs, True, counter=counter, timeout_s=timeout_s)
    return BenchResult(repeats=1, instructions=found.instructions, counter=found.counter)
