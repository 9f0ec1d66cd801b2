"""Runners: what executes the measuring program, and what a cost is there."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from footprint_compiler.errors import FpcError
from footprint_compiler.runners.local import why_not_local
from footprint_compiler.runners.machine import machine_of_target
from footprint_compiler.targets import Target
from footprint_compiler.tuning.candidate import Built
from footprint_compiler.tuning.compare import check_same
from footprint_compiler.tuning.processes import quiet_core, run_sandboxed
from footprint_compiler.tuning.program import link_program
from footprint_compiler.tuning.protocol import (
    MOST_ARGUMENTS,
    TIME,
    Argument,
    Effort,
    decode_outputs,
    decode_report,
    encode_job,
)
from footprint_compiler.tuning.trial import Costs, TrialFailed

TIMEOUT_S = 20.0


class Runner(Protocol):
    """Measures a candidate beside the default kernel of its task.

    Attributes:
        name: for records, for example ``local``.
        unit: of costs.
        exact: costs repeat exactly, so that the smallest gain is a gain.
        host: the CPU that is measured; empty where none is.
    """

    name: str
    unit: str
    exact: bool
    host: str

    def measure(self, default: Built, candidate: Built, effort: Effort) -> Costs:
        """Costs of one call of each.

        Raises:
            TrialFailed: the program failed, or the candidate computes something else.
        """

    def close(self) -> None:
        """Release what the runner holds."""


class ProgramRunner:
    """What all runners that execute the linked measuring program share.

    Args:
        target: what the kernels are compiled for.
        timeout_s: limit of one execution.
    """

    mode = TIME

    def __init__(self, target: Target, timeout_s: float = TIMEOUT_S) -> None:
        self.target = target
        self.timeout_s = timeout_s

    def measure(self, default: Built, candidate: Built, effort: Effort) -> Costs:
        """See ``Runner``."""
        sides = (default.arguments, candidate.arguments)
        if max(map(len, sides)) > MOST_ARGUMENTS:
            raise TrialFailed("runner", f"a kernel with more than {MOST_ARGUMENTS} arguments")
        folder = Path(tempfile.mkdtemp(prefix="fpc-tune-"))
        try:
            try:
                program = self.link((default.object, candidate.object), sides, folder)
            except FpcError as error:
                raise TrialFailed("build", error.message) from error
            (folder / "job.bin").write_bytes(encode_job(sides, self.mode, effort))
            self.execute(program, folder)
            outputs = decode_outputs((folder / "out.bin").read_bytes(), sides)
            check_same(*outputs)
            return self.read_costs(program, folder)
        except (OSError, ValueError) as error:
            raise TrialFailed("runner", str(error)) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def link(
        self, objects: tuple[bytes, bytes], sides: Sequence[Sequence[Argument]], folder: Path
    ) -> Path:
        """The program from the objects of the two kernels, which take the arguments ``sides``."""
        return link_program(self.target, objects, folder)

    def execute(self, program: Path, folder: Path) -> None:
        """Run the program in ``folder``, or elsewhere with its files copied there and back."""
        raise NotImplementedError

    def read_costs(self, program: Path, folder: Path) -> Costs:
        """Minima over the samples: what the code can do when nobody else disturbs it."""
        times = decode_report((folder / "report.bin").read_bytes())
        return Costs(float(times.default_us.min()), float(times.candidate_us.min()), "us")

    def close(self) -> None:
        """Nothing is held."""


class LocalRunner(ProgramRunner):
    """This machine: a sandboxed process on one core."""

    name, unit, exact = "local", "us", False

    def __init__(self, target: Target, timeout_s: float = TIMEOUT_S) -> None:
        super().__init__(target, timeout_s)
        problem = why_not_local(machine_of_target(target))
        if problem is not None:
            from footprint_compiler.errors import RunnerError

            raise RunnerError(
                f"cannot measure kernels for {target.name} here: {problem}",
                "Use --runner emulator, ssh://user@host or rpc://host:port?key=board.",
            )
        self.core = quiet_core()
        self.host = host_cpu()

    def execute(self, program: Path, folder: Path) -> None:
        """In a session of its own, pinned to one core."""
        run_sandboxed([program], folder, self.timeout_s, self.core)


def host_cpu() -> str:
    """Name of this machine's CPU, as the operating system gives it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else ""
