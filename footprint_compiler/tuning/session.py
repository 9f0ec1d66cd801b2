"""A tuning session: rounds over tasks until a limit, a plateau or Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol

from footprint_compiler.errors import RunnerError
from footprint_compiler.kernels.decisions import Choice
from footprint_compiler.tuning.candidate import Built
from footprint_compiler.tuning.journal import Journal
from footprint_compiler.tuning.progress import SessionState, TaskState, Watcher
from footprint_compiler.tuning.protocol import Effort
from footprint_compiler.tuning.runner import Runner
from footprint_compiler.tuning.schedule import next_task
from footprint_compiler.tuning.search import Proposal
from footprint_compiler.tuning.tasks import Task
from footprint_compiler.tuning.trial import Costs, Trial, TrialFailed

BATCH = 8
MOST_IDLE = 3
NOTICEABLE = 1.01
"""Ratio of costs below which nothing was gained."""
MOST_LOST = 3
"""Measurements in a row without a device that end a session."""
CONFIRMED = Effort(samples=120, budget_ms=600)
"""How a best candidate is measured once more: a minimum of many is partly luck."""


class Compiler(Protocol):
    """Builds a candidate, for example in a worker process."""

    def build(self, task: Task, decisions: dict[str, Choice], symbol: str) -> Built:
        """Raises TrialFailed when there is nothing to measure."""

    def close(self) -> None:
        """Release what it holds."""


class Searcher(Protocol):
    """What ``search.Search`` does."""

    def propose(self) -> list[Proposal]:
        """The next round."""

    def tell(self, proposals: Sequence[Proposal], costs: Sequence[float | None]) -> None:
        """Results of that round."""

    def remember(self, decisions: Sequence[dict[str, Choice]], costs: Sequence[float]) -> None:
        """Results from elsewhere."""


@dataclass(frozen=True)
class Limits:
    """When a session ends.

    Attributes:
        trials: candidates measured, in all.
        seconds: since the start.
        plateau: a task is settled after so many trials without a noticeable gain.
    """

    trials: int = 400
    seconds: float = 1800.0
    plateau: int = 32


@dataclass
class Progress:
    """What is known of one task.

    Attributes:
        default: as built; None before the first measurement.
        unit_cost: of the default, the first time it was measured.
        best: decisions and costs of the fastest candidate that was confirmed.
        ratios: ratio to the default of every trial that had one, in order.
        kernels: structural hash -> ratio to the default; None where it failed.
        trials, failures: so far.
        since_gain: trials since the best was found.
        idle: rounds in a row that proposed nothing new.
        state: see ``TaskState``.
    """

    task: Task
    search: Searcher
    default: Built | None = None
    unit_cost: float | None = None
    best: tuple[dict[str, Choice], Costs, str] | None = None
    ratios: list[float] = field(default_factory=list)
    kernels: dict[str, float | None] = field(default_factory=dict)
    trials: int = 0
    failures: int = 0
    since_gain: int = 0
    idle: int = 0
    state: str = "waiting"

    @property
    def best_ratio(self) -> float:
        """Of costs, best over default; 1 when nothing is better."""
        return self.best[1].ratio if self.best else 1.0

    @property
    def open(self) -> bool:
        """Whether more trials may help."""
        return self.state in ("waiting", "tuning")


class Session:
    """One run over all tasks.

    Args:
        tasks: what to tune.
        searcher: makes the search of a task.
        compiler, runner, journal: see there; closed by ``close``.
        limits: when to stop.
        watcher: receives the state after every trial.
        clock: seconds; monotonic.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        searcher: Callable[[Task], Searcher],
        compiler: Compiler,
        runner: Runner,
        journal: Journal,
        limits: Limits,
        watcher: Watcher | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tasks = [Progress(task, searcher(task)) for task in tasks]
        self.compiler, self.runner, self.journal = compiler, runner, journal
        self.limits, self.watcher, self.clock = limits, watcher or Watcher(), clock
        self.start = clock()
        self.trials = 0
        self.note = ""
        self._lost = 0
        self._decisions: dict[tuple[str, str], dict[str, Choice]] = {}
        self._replay(journal.past)

    def run(self, on_best: Callable[[Progress], None]) -> str:
        """Tune until the end.

        Args:
            on_best: called when a task has a new confirmed best.

        Returns:
            Why it ended: ``trials``, ``budget``, ``settled``.

        Raises:
            KeyboardInterrupt: the user's; what was measured is in the journal.
            RunnerError: the device is gone; likewise.
        """
        self._confirm_past(on_best)
        while True:
            if self.trials >= self.limits.trials:
                return "trials"
            if self._late():
                return "budget"
            progress = next_task(self.tasks)
            if progress is None:
                return "settled"
            progress.state = "tuning"
            self._round(progress, on_best)

    def close(self) -> None:
        """Release compiler, runner, journal and watcher, each whatever becomes of the others."""
        with ExitStack() as stack:
            for part in (self.watcher, self.journal, self.runner, self.compiler):
                stack.callback(part.close)

    def _round(self, progress: Progress, on_best: Callable[[Progress], None]) -> None:
        if progress.default is None and not self._measure_default(progress):
            return
        proposals = progress.search.propose()
        if not proposals:
            progress.state = "exhausted"
            return
        before = self.trials
        costs = [self._try(progress, dict(proposal.decisions)) for proposal in proposals]
        progress.idle = 0 if self.trials > before else progress.idle + 1
        progress.search.tell(
            proposals, [None if c is None else c * self._scale(progress) for c in costs]
        )
        self._confirm(progress, on_best)
        if progress.since_gain >= self.limits.plateau:
            progress.state = "settled"
        elif progress.idle >= MOST_IDLE:
            progress.state = "exhausted"
        self.show()

    def _confirm_past(self, on_best: Callable[[Progress], None]) -> None:
        """What a journal says is faster is measured again, also when no trials are left."""
        for progress in self.tasks:
            if min((r for r in progress.kernels.values() if r is not None), default=1.0) >= 1.0:
                continue
            if self._late():
                return
            if progress.default is not None or self._measure_default(progress):
                self._confirm(progress, on_best)

    def _scale(self, progress: Progress) -> float:
        """Ratios as seconds or instructions, for a cost model that sees all tasks."""
        return (progress.unit_cost or 1.0) * 1e-6

    def _measure_default(self, progress: Progress) -> bool:
        """Build and measure the default beside itself; a task without that is given up."""
        task = progress.task
        try:
            progress.default = self.compiler.build(task, {}, "fpc_default")
            twin = self.compiler.build(task, {}, "fpc_candidate")
            costs = self._run(progress.default, twin, Effort())
        except TrialFailed as failed:
            progress.default = None
            if failed.kind == "lost":
                return False
            progress.state = "exhausted"
            self._keep(progress, Trial(task.key, {}, failure=f"{failed.kind}: {failed.text}"))
            return False
        progress.unit_cost = costs.default
        progress.kernels[progress.default.kernel] = 1.0
        progress.search.remember([task.defaults], [self._scale(progress)])
        self.show()
        return True

    def _try(self, progress: Progress, decisions: dict[str, Choice]) -> float | None:
        """The ratio to the default, or None for a failure; one trial unless it is known already."""
        if self.trials >= self.limits.trials or self._late():
            return None
        task = progress.task
        kernel = ""
        try:
            built = self.compiler.build(task, decisions, "fpc_candidate")
            kernel = built.kernel
            if kernel in progress.kernels:
                return progress.kernels[kernel]
            costs = self._measure(progress, built, Effort())
        except TrialFailed as failed:
            if failed.kind in ("invalid", "lost"):
                return None
            progress.kernels[kernel] = None
            failure = f"{failed.kind}: {failed.text}"
            self._keep(progress, Trial(task.key, decisions, kernel, None, failure))
            return None
        progress.kernels[kernel] = costs.ratio
        self._keep(progress, Trial(task.key, decisions, kernel, costs))
        return costs.ratio

    def _measure(self, progress: Progress, built: Built, effort: Effort) -> Costs:
        assert progress.default is not None
        if built.scratch_bytes > progress.default.scratch_bytes + progress.task.room_bytes:
            raise TrialFailed("scratch", f"{built.scratch_bytes} B of scratch break the plan")
        if not set(progress.default.in_place) <= set(built.in_place):
            raise TrialFailed("scratch", "a result that is not written over its input")
        return self._run(progress.default, built, effort)

    def _run(self, default: Built, candidate: Built, effort: Effort) -> Costs:
        """Raises TrialFailed, and RunnerError when the device has been gone for some time."""
        try:
            costs = self.runner.measure(default, candidate, effort)
        except TrialFailed as failed:
            self._lost = self._lost + 1 if failed.kind == "lost" else 0
            if self._lost < MOST_LOST:
                raise
            raise RunnerError(
                f"nothing to measure with any more: {failed.text}",
                "All trials are kept; run the same command with --resume when it is back.",
            ) from failed
        self._lost = 0
        return costs

    def _confirm(self, progress: Progress, on_best: Callable[[Progress], None]) -> None:
        """Measure the fastest candidate again, longer; keep it when it still is the fastest."""
        known = [(r, k) for k, r in progress.kernels.items() if r is not None]
        ratio, kernel = min(known, default=(1.0, ""))
        least = 1.0 if self.runner.exact else 1.0 / NOTICEABLE
        if ratio >= progress.best_ratio * least or self._late():
            return
        decisions = self._decisions[progress.task.key, kernel]
        try:
            built = self.compiler.build(progress.task, decisions, "fpc_candidate")
            costs = self._measure(progress, built, Effort() if self.runner.exact else CONFIRMED)
        except TrialFailed as failed:
            if failed.kind != "lost":
                progress.kernels[kernel] = None
            return
        progress.kernels[kernel] = costs.ratio
        if costs.ratio < progress.best_ratio * least:
            progress.best = (dict(built.decided), costs, built.kernel)
            progress.since_gain = 0
            on_best(progress)

    def _keep(self, progress: Progress, trial: Trial) -> None:
        self.journal.add(trial)
        self._count(progress, trial)
        self.show()

    def _count(self, progress: Progress, trial: Trial) -> None:
        self.trials += 1
        progress.trials += 1
        progress.since_gain += 1
        self.note = trial.failure
        if trial.costs is None:
            progress.failures += 1
            return
        progress.ratios.append(trial.costs.ratio)
        self._decisions[progress.task.key, trial.kernel] = dict(trial.decisions)

    def _replay(self, past: Sequence[Trial]) -> None:
        """Take over the trials of a journal; each best is measured again before it counts."""
        by_key = {progress.task.key: progress for progress in self.tasks}
        for trial in past:
            progress = by_key.get(trial.task)
            if progress is None:
                continue
            self._count(progress, trial)
            progress.kernels[trial.kernel] = trial.costs.ratio if trial.costs else None
            if trial.costs is not None and progress.unit_cost is None:
                progress.unit_cost = trial.costs.default
        for progress in self.tasks:
            mine = [t for t in past if t.task == progress.task.key and t.costs is not None]
            ratios = [t.costs.ratio for t in mine if t.costs is not None]
            progress.search.remember(
                [dict(t.decisions) for t in mine], [r * self._scale(progress) for r in ratios]
            )

    def _late(self) -> bool:
        return self.clock() - self.start >= self.limits.seconds

    def show(self) -> None:
        """Tell the watcher."""
        self.watcher.update(self.state())

    def state(self) -> SessionState:
        """For the watcher."""
        total = sum((p.unit_cost or 0.0) * p.task.uses for p in self.tasks)
        seconds = self.clock() - self.start
        left = max(0.0, self.limits.seconds - seconds)
        fresh = self.trials - len(self.journal.past)
        rate = seconds / fresh if fresh > 0 else None
        eta = None if rate is None else min(left, rate * (self.limits.trials - self.trials))
        rows = tuple(
            TaskState(
                p.task.description,
                p.task.uses,
                None if not total or p.unit_cost is None else p.unit_cost * p.task.uses / total,
                p.unit_cost,
                None if p.unit_cost is None else p.unit_cost * p.best_ratio,
                p.trials,
                p.failures,
                p.state,
            )
            for p in self.tasks
        )
        return SessionState(
            rows, self.runner.unit, self.trials, self.limits.trials, seconds, eta, self.note
        )
