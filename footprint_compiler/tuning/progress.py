"""What a session tells about itself while it runs; the CLI draws it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TaskState:
    """One row of the live table.

    Attributes:
        name: family and shapes.
        weight: share of the model's time under the defaults, 0 to 1; None before it is known.
        default, best: cost of one call; None before it is measured.
        trials, failures: so far.
        state: ``waiting``, ``tuning``, ``settled`` (no gain for long) or ``exhausted``.
    """

    name: str
    uses: int
    weight: float | None
    default: float | None
    best: float | None
    trials: int
    failures: int
    state: str

    @property
    def speed_up(self) -> float | None:
        """Of the best over the default."""
        return self.default / self.best if self.default and self.best else None


@dataclass(frozen=True)
class SessionState:
    """All tasks, and how far the session is.

    Attributes:
        unit: of costs.
        trials, most: done, and allowed in all.
        seconds: since the start.
        eta_s: estimated seconds left; None when there is nothing to go by.
        note: what happened last.
    """

    tasks: tuple[TaskState, ...]
    unit: str
    trials: int
    most: int
    seconds: float
    eta_s: float | None
    note: str = ""


class Watcher:
    """Receives states; this base class ignores them."""

    def update(self, state: SessionState) -> None:
        """After every trial and between rounds."""

    def close(self) -> None:
        """No more follow."""
