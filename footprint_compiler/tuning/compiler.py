"""Candidates built in a worker process."""

from __future__ import annotations

from footprint_compiler.kernels.decisions import Choice
from footprint_compiler.tuning.candidate import Built
from footprint_compiler.tuning.processes import Worker
from footprint_compiler.tuning.tasks import Task
from footprint_compiler.tuning.trial import TrialFailed

START_TIMEOUT_S = 120.0


class WorkerCompiler:
    """One worker, started anew when it dies or hangs.

    Args:
        worker: to build in.
        seed: of the random inputs.
        timeout_s: of one build.
    """

    def __init__(self, worker: Worker, seed: int, timeout_s: float = 60.0) -> None:
        self.worker, self.seed, self.timeout_s = worker, seed, timeout_s

    def build(self, task: Task, decisions: dict[str, Choice], symbol: str) -> Built:
        """Raises TrialFailed when there is nothing to measure."""
        if self.worker.pid is None:
            self.worker.call("ping", 0, timeout_s=START_TIMEOUT_S)
        try:
            built: Built = self.worker.call(
                "build", task.source, decisions, symbol, self.seed, timeout_s=self.timeout_s
            )
        except TrialFailed as failed:
            if failed.text.startswith("UnknownChoiceError"):
                raise TrialFailed("invalid", failed.text) from None
            raise
        return built

    def close(self) -> None:
        """End the worker."""
        self.worker.close()
