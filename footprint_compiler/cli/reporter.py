"""Progress of long steps: a bar on a terminal, one line per phase elsewhere. All on stderr."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from footprint_compiler.progress import PassRecord, Reporter

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LINE_EVERY_SECONDS = 5.0


class LineReporter(Reporter):
    """Plain lines.

    Args:
        verbosity: below 0 only warnings and explanations, 0 also phases, above also details.
    """

    def __init__(self, verbosity: int = 0) -> None:
        self.verbosity = verbosity
        self.passes: list[PassRecord] = []
        self.outcome: Any = None
        self._phase = ""
        self._last_line = 0.0

    def phase(self, name: str) -> None:
        self._phase, self._last_line = name, time.monotonic()
        if self.verbosity >= 0:
            self._print(name)

    def progress(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self.verbosity >= 0 and now - self._last_line >= LINE_EVERY_SECONDS:
            self._last_line = now
            self._print(f"{self._phase}: {done}/{total}")

    def log(self, message: str, level: str = "info") -> None:
        needed = {"warning": -9, "explain": -9, "info": 0, "debug": 1}[level]
        if self.verbosity >= needed:
            self._print(f"warning: {message}" if level == "warning" else message)

    def pass_done(self, record: PassRecord) -> None:
        self.passes.append(record)
        self.log(f"{record.name}: {record.seconds:.3f} s, {record.ops_after} operators", "debug")

    def quantized(self, outcome: Any) -> None:
        self.outcome = outcome

    def _print(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


class BarReporter(LineReporter):
    """A rich progress bar with the current phase; finished phases stay as lines."""

    def __init__(self, verbosity: int = 0) -> None:
        super().__init__(verbosity)
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def phase(self, name: str) -> None:
        self._finish_task()
        self._phase = name
        self._task = self._bar().add_task(name, total=None)

    def progress(self, done: int, total: int) -> None:
        if self._task is not None:
            self._bar().update(self._task, completed=done, total=total)

    def close(self) -> None:
        self._finish_task()
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _bar(self) -> Progress:
        if self._progress is None:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                SpinnerColumn,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            self._progress = Progress(
                SpinnerColumn(finished_text="*"),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=Console(file=sys.stderr),
                redirect_stdout=False,
            )
            self._progress.start()
        return self._progress

    def _finish_task(self) -> None:
        if self._task is None:
            return
        bar = self._bar()
        total = bar.tasks[bar.task_ids.index(self._task)].total or 1
        bar.update(self._task, total=total, completed=total)
        self._task = None

    def _print(self, line: str) -> None:
        if self._progress is None:
            super()._print(line)
        else:
            self._progress.console.print(line, markup=False, highlight=False)


def make_reporter(verbosity: int) -> LineReporter:
    """A bar when stderr is a terminal and it is wanted, else lines."""
    return (
        BarReporter(verbosity)
        if verbosity >= 0 and sys.stderr.isatty()
        else LineReporter(verbosity)
    )
