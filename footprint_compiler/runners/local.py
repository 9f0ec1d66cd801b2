"""Run an artifact on this machine, through its shared library."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from footprint_compiler.artifact import Artifact
from footprint_compiler.errors import RunnerError
from footprint_compiler.runners.machine import Machine
from footprint_compiler.runners.result import BenchResult, RunResult
from footprint_compiler.runtime.check import check_inputs
from footprint_compiler.runtime.loader import load
from footprint_compiler.targets.host import host_architecture, missing_on_host
from footprint_compiler.targets.llvm import cpu_features

#: Measured even when the time is over.
LEAST_REPEATS = 3


def why_not_local(machine: Machine) -> str | None:
    """What this machine lacks to run code for ``machine``; None when it lacks nothing."""
    architecture = machine.mtriple.split("-", maxsplit=1)[0]
    if architecture != host_architecture():
        return f"this machine is {host_architecture()}, the code is {architecture}"
    missing = missing_on_host(cpu_features(machine.mtriple, machine.mcpu, machine.mattr))
    return f"this CPU lacks {', '.join(missing)}" if missing else None


def check_local(machine: Machine) -> None:
    """Refuse code that this CPU would stop at with an illegal instruction.

    Raises:
        RunnerError: naming the missing features.
    """
    problem = why_not_local(machine)
    if problem is not None:
        raise RunnerError(
            f"cannot run code for {machine.name} here: {problem}",
            "Build for `native`, or run it on a machine that has it.",
        )


def run_locally(
    artifact: Artifact,
    machine: Machine,
    inputs: Mapping[str, np.ndarray],
    *,
    allow_nan: bool = False,
) -> RunResult:
    """Execute an artifact on this machine.

    Raises:
        InputDataError: the inputs do not fit the model.
        RunnerError: the CPU lacks a feature.
    """
    check_local(machine)
    with load(artifact) as model:
        return RunResult(model.run(inputs, allow_nan=allow_nan))


def bench_locally(
    artifact: Artifact,
    machine: Machine,
    inputs: Mapping[str, np.ndarray],
    *,
    repeats: int,
    warmup: int,
    max_seconds: float,
) -> BenchResult:
    """Time invocations on this machine; the inputs are written again before each of them.

    Raises:
        InputDataError: the inputs do not fit the model.
        RunnerError: the CPU lacks a feature.
    """
    check_local(machine)
    arrays = check_inputs(artifact.inputs, inputs)
    times_us: list[float] = []
    with load(artifact) as model:
        deadline = time.perf_counter() + max_seconds
        for i in range(warmup + repeats):
            if time.perf_counter() > deadline and len(times_us) >= LEAST_REPEATS:
                break
            for j, array in enumerate(arrays):
                model.input_view(j)[...] = array
            start = time.perf_counter_ns()
            model.invoke()
            elapsed = time.perf_counter_ns() - start
            if i >= warmup:
                times_us.append(elapsed / 1000.0)
    low, middle, most, nearly_all = map(float, np.percentile(times_us, [0, 50, 90, 99]))
    threads = int(artifact.manifest.get("threads", 1))
    return BenchResult(low, middle, most, nearly_all, threads, len(times_us))
