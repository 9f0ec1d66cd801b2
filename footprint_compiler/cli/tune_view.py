"""A session on the screen: a live table with a bar on a terminal, one line per event elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from footprint_compiler.cli import text
from footprint_compiler.tuning.progress import SessionState, TaskState, Watcher

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

LINE_EVERY_SECONDS = 5.0
MOST_ROWS = 24
COLUMNS = ("task", "uses", "weight", "default", "best", "speed-up", "trials", "failed", "state")
NAME_WIDTH = 44


def task_table(state: SessionState, title: str | None = None) -> Table:
    """All tasks, the heaviest first."""
    made = text.table(*COLUMNS, right=COLUMNS[1:-1], title=title)
    rows = sorted(state.tasks, key=lambda task: -(task.weight or 0.0))
    for task in rows[:MOST_ROWS]:
        text.add_row(made, *_cells(task, state.unit))
    if len(rows) > MOST_ROWS:
        text.add_row(made, f"and {len(rows) - MOST_ROWS} more", *[""] * (len(COLUMNS) - 1))
    return made


def _cells(task: TaskState, unit: str) -> tuple[str, ...]:
    name = task.name if len(task.name) <= NAME_WIDTH else f"{task.name[: NAME_WIDTH - 3]}..."
    weight = "" if task.weight is None else f"{task.weight:.1%}"
    gain = "" if task.speed_up is None else f"{task.speed_up:.2f} x"
    return (
        name,
        str(task.uses),
        weight,
        cost(task.default, unit),
        cost(task.best, unit),
        gain,
        str(task.trials),
        str(task.failures),
        task.state,
    )


def cost(value: float | None, unit: str) -> str:
    """``12.3 us``, ``45,678`` for what is counted; empty when unknown."""
    if value is None:
        return ""
    return f"{value:.2f} us" if unit == "us" else f"{value:,.0f}"


def in_all(state: SessionState) -> float | None:
    """Speed-up of the tuned part of the model, so far."""
    known = [task for task in state.tasks if task.default and task.best]
    before = sum((task.default or 0.0) * task.uses for task in known)
    after = sum((task.best or 0.0) * task.uses for task in known)
    return before / after if after else None


def clock(seconds: float | None) -> str:
    """``3:07``."""
    return "?" if seconds is None else f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class LineWatcher(Watcher):
    """A line every few seconds, and for every failure when asked.

    Args:
        verbosity: below 0 nothing, 0 lines, above also failures.
    """

    def __init__(self, verbosity: int) -> None:
        self.verbosity = verbosity
        self._last = 0.0
        self._noted = ""

    def update(self, state: SessionState) -> None:
        """Print when it is time."""
        if self.verbosity > 0 and state.note and state.note != self._noted:
            self._noted = state.note
            self._print(f"trial {state.trials}: {state.note}")
        now = time.monotonic()
        if self.verbosity < 0 or now - self._last < LINE_EVERY_SECONDS:
            return
        self._last = now
        gain = in_all(state)
        faster = "" if gain is None else f", {gain:.2f} x so far"
        self._print(
            f"trials {state.trials}/{state.most}, {clock(state.seconds)} gone, "
            f"{clock(state.eta_s)} left{faster}"
        )

    def _print(self, line: str) -> None:
        print(text.printable(line), file=sys.stderr, flush=True)


class LiveWatcher(Watcher):
    """The table and a progress bar, redrawn in place on standard error."""

    def __init__(self) -> None:
        self._live: Live | None = None

    def update(self, state: SessionState) -> None:
        """Redraw."""
        from rich.console import Console, Group
        from rich.live import Live
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        gain = in_all(state)
        faster = "" if gain is None else f"  {gain:.2f} x"
        line = Text(
            f"trials {state.trials}/{state.most}  {clock(state.seconds)} gone  "
            f"{clock(state.eta_s)} left{faster}  {text.one_line(state.note, 60)}"
        )
        bar = ProgressBar(total=state.most, completed=state.trials, width=60)
        shown = Group(task_table(state), bar, line)
        if self._live is None:
            self._live = Live(shown, console=Console(file=sys.stderr), refresh_per_second=4)
            self._live.start()
        self._live.update(shown)

    def close(self) -> None:
        """Leave the last state on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def make_watcher(verbosity: int, as_json: bool) -> Watcher:
    """A live table when stderr is a terminal and it is wanted, else lines."""
    if as_json or verbosity < 0:
        return Watcher()
    return LiveWatcher() if sys.stderr.isatty() else LineWatcher(verbosity)
