"""`fpc tune` as a function: a model, a target and limits in, records on disk out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from footprint_compiler.errors import UsageError
from footprint_compiler.frontend import import_model
from footprint_compiler.kernels.decisions import SCHEDULE_VERSION
from footprint_compiler.options import BuildOptions
from footprint_compiler.progress import Reporter
from footprint_compiler.targets import Target
from footprint_compiler.tuning.compiler import WorkerCompiler
from footprint_compiler.tuning.journal import Journal, SessionKey
from footprint_compiler.tuning.processes import Worker
from footprint_compiler.tuning.progress import Watcher
from footprint_compiler.tuning.record import Record, current_versions
from footprint_compiler.tuning.records import add_records, read_records
from footprint_compiler.tuning.runner import Runner
from footprint_compiler.tuning.search import CostModel, Search
from footprint_compiler.tuning.session import BATCH, Limits, Progress, Session
from footprint_compiler.tuning.tasks import Task, extract_tasks
from footprint_compiler.tuning.workload import machine_key


@dataclass(frozen=True)
class TuneOptions:
    """What a user can ask of a session.

    Attributes:
        limits: see there.
        seed: of inputs, sampling and mutation.
        resume: continue the journal of the same session.
        build: the options that decide what the kernels are.
    """

    limits: Limits = field(default_factory=Limits)
    seed: int = 0
    resume: bool = False
    build: BuildOptions = field(default_factory=BuildOptions)


@dataclass
class Outcome:
    """What a session found.

    Attributes:
        reason: why it ended: ``trials``, ``budget``, ``settled`` or ``interrupted``.
        tasks: final state of each.
        records: new or better ones of this session.
        trials: in all, with those of a journal.
        journal: its file.
    """

    reason: str
    tasks: Sequence[Progress]
    records: list[Record]
    trials: int
    journal: Path


def tune(
    model: str | Path,
    target: Target,
    runner: Runner,
    folder: Path,
    options: TuneOptions,
    watcher: Watcher,
    reporter: Reporter,
    on_end: Callable[[Outcome], None] | None = None,
) -> Outcome:
    """Tune the kernels of a model; records are written as soon as they are confirmed.

    Args:
        folder: of records; the journal lies beside them.
        on_end: receives the outcome, also when the user interrupts.

    Raises:
        KeyboardInterrupt: the user's, after ``on_end``; what was found is on disk.
        UsageError: nothing in the model can be tuned.
    """
    reporter.phase("import the model")
    build = options.build
    graph = import_model(model, build.shapes, build.constants, build.shrink)
    reporter.phase("find what to tune")
    tasks = extract_tasks(graph, target, build, reporter)
    if not tasks:
        raise UsageError("no kernel of this model has a choice to tune")
    if folder.is_dir():
        read_records(folder, target.name)  # says now, not after hours, what is wrong there
    journal = Journal(*_journal_of(Path(model), graph.sha256, target, runner, folder, options))
    records: dict[str, Record] = {}

    def keep(progress: Progress) -> None:
        _, _, kept = add_records(folder, [_record(progress, target, runner)], target.name)
        records.update({record.workload: record for record in kept})

    cost_model = CostModel(options.seed)
    seeds = {task.key: options.seed + number for number, task in enumerate(tasks)}

    def searcher(task: Task) -> Search:
        return Search(task, cost_model, seeds[task.key], options.limits.trials, BATCH)

    compiler = WorkerCompiler(Worker(), options.seed)
    session = Session(tasks, searcher, compiler, runner, journal, options.limits, watcher)
    reason = "interrupted"
    try:
        session.show()
        reason = session.run(keep)
    finally:
        session.close()
        outcome = Outcome(
            reason, session.tasks, list(records.values()), session.trials, journal.path
        )
        if on_end is not None:
            on_end(outcome)
    return outcome


def _journal_of(
    model: Path, digest: str, target: Target, runner: Runner, folder: Path, options: TuneOptions
) -> tuple[Path, SessionKey, bool]:
    machine = machine_key(target)
    key = SessionKey(
        digest,
        f"{machine.target} {machine.cpu} {sha256(machine.features.encode()).hexdigest()[:16]}",
        current_versions().tvm,
        SCHEDULE_VERSION,
        f"{runner.name} {runner.unit}",
        options.seed,
    )
    name = f"{model.stem}-{digest[:8]}-{options.seed}.journal"
    return folder / target.name / name, key, options.resume


def _record(progress: Progress, target: Target, runner: Runner) -> Record:
    assert progress.best is not None
    decisions, costs, kernel = progress.best
    task = progress.task
    return Record(
        task.key,
        machine_key(target),
        current_versions(),
        task.default_kernel,
        kernel,
        decisions,
        round(costs.candidate, 4),
        round(costs.default, 4),
        costs.unit,
        runner.name,
        task.description,
        runner.host,
    )
