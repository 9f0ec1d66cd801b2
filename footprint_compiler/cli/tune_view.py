"""A session on the screen: a live table with a bar on a terminal, one line per event elsewhere."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from footprint_compiler.cli import text
from footprint_compiler.tuning.progress import SessionState, TaskState, Watcher

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.table import Table

LINE_EVERY_SECONDS = 5.0
MOST_ROWS = 24
BELOW_ROWS = 7
"""Lines of the screen that are no rows of the table."""
COLUMNS = ("task", "uses", "weight", "default", "best", "speed-up", "trials", "failed", "state")
#: Width of the screen below which a column is left out.
LEAST_WIDTH = {"uses": 100, "failed": 90, "state": 80, "default": 66, "weight": 54, "trials": 46}
GAP = 3
"""Columns of the screen between two columns of the table."""
_OPERAND = re.compile(r"(\w+)\[([\dx]*)\]")


def task_table(state: SessionState, width: int = 120, rows: int = MOST_ROWS) -> Table:
    """The heaviest tasks first, in at most ``rows`` lines of at most ``width`` columns."""
    shown = [name for name in COLUMNS if width >= LEAST_WIDTH.get(name, 0)]
    made = text.table(*shown, right=tuple(n for n in shown if n not in ("task", "state")))
    tasks = sorted(state.tasks, key=lambda task: -(task.weight or 0.0))
    most = len(tasks) if len(tasks) <= rows else max(1, rows - 1)
    lines = [_cells(task, state.unit) for task in tasks[:most]]
    if len(tasks) > most:
        lines.append({"task": f"and {len(tasks) - most} more"})
    others = sum(
        max(len(name), *(len(line.get(name, "")) for line in lines)) + GAP for name in shown[1:]
    )
    for line in lines:
        line["task"] = text.one_line(line["task"], max(8, width - others - GAP))
        text.add_row(made, *(line.get(name, "") for name in shown))
    return made


def _cells(task: TaskState, unit: str) -> dict[str, str]:
    return {
        "task": short_name(task.name),
        "uses": str(task.uses),
        "weight": "" if task.weight is None else f"{task.weight:.1%}",
        "default": cost(task.default, unit),
        "best": cost(task.best, unit),
        "speed-up": "" if task.speed_up is None else f"{task.speed_up:.2f} x",
        "trials": str(task.trials),
        "failed": str(task.failures),
        "state": task.state,
    }


def short_name(description: str) -> str:
    """``conv2d int8 25x5x64, 64x64x1x1 -> 25x5x64``: family, first operands, output; float32
    is not named."""
    found = _OPERAND.findall(description)
    if len(found) < 2:
        return description
    family = description.split(" ", 1)[0]
    shapes = [shape.removeprefix("1x") if shape.count("x") > 1 else shape for _, shape in found]
    weights = f", {found[1][1]}" if len(found) > 2 and "x" in found[1][1] else ""
    dtype = "" if found[0][0] == "float32" else f"{found[0][0]} "
    return f"{family} {dtype}{shapes[0]}{weights} -> {shapes[-1]}"


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
    """The table and a progress bar, redrawn in place on standard error.

    Args:
        before: called once before the first drawing: ends what else is drawn in place.
        console: of standard error by default.
    """

    def __init__(self, before: Callable[[], None], console: Console | None = None) -> None:
        self._before = before
        self._console = console
        self._live: Live | None = None

    def update(self, state: SessionState) -> None:
        """Redraw."""
        from rich.console import Console
        from rich.live import Live

        if self._live is None:
            self._before()
            screen = self._console or Console(file=sys.stderr)
            self._live = Live(console=screen, refresh_per_second=4)
            self._live.start()
        size = self._live.console.size
        self._live.update(session_view(state, size.width, size.height))

    def close(self) -> None:
        """Leave the last state on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def session_view(state: SessionState, width: int, height: int) -> Group:
    """Table, bar and a line of figures that fit a screen of ``width`` x ``height``."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    gain = in_all(state)
    faster = "" if gain is None else f"  {gain:.2f} x"
    figures = (
        f"trials {state.trials}/{state.most}  {clock(state.seconds)} gone  "
        f"{clock(state.eta_s)} left{faster}"
    )
    note = text.one_line(state.note, max(0, width - len(figures) - 3))
    line = Text(f"{figures}  {note}".rstrip(), no_wrap=True, overflow="ellipsis")
    bar = ProgressBar(total=state.most, completed=state.trials, width=min(60, max(1, width - 2)))
    rows = max(1, min(MOST_ROWS, height - BELOW_ROWS))
    return Group(task_table(state, width, rows), Padding(bar, 0), line)


def make_watcher(verbosity: int, as_json: bool, before: Callable[[], None]) -> Watcher:
    """A live table when stderr is a terminal and it is wanted, else lines; see ``LiveWatcher``."""
    if as_json or verbosity < 0:
        return Watcher()
    return LiveWatcher(before) if sys.stderr.isatty() else LineWatcher(verbosity)
