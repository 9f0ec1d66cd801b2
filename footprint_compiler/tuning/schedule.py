"""Which task gets the next round: the one whose rounds promise most for the whole model.

A task's promise is its share of the model's time, uses times cost of its best, times the gain that
one more round is likely to bring. That gain is taken from the task's own past (how much its last
rounds improved on the best) and from hope, which fades with the number of trials: with few, half of
the cost may still go; with many, next to nothing. Compare the gradient of Ansor's task scheduler
(Zheng et al., OSDI 2020), whose terms are of this kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from footprint_compiler.tuning.session import Progress

WINDOW = 16
"""Trials of the recent past."""


def next_task(tasks: Sequence[Progress]) -> Progress | None:
    """The open task with the greatest promise; first every task is measured once."""
    fresh = [progress for progress in tasks if progress.open and progress.unit_cost is None]
    if fresh:
        return fresh[0]
    candidates = [progress for progress in tasks if progress.open]
    return max(candidates, key=promise, default=None)


def promise(progress: Progress) -> float:
    """Expected gain of a round, in the unit of costs, per inference."""
    share = (progress.unit_cost or 0.0) * progress.task.uses * progress.best_ratio
    return share * max(recent_gain(progress.ratios), hope(progress.trials))


def recent_gain(ratios: Sequence[float]) -> float:
    """Part of the cost by which the last trials improved on those before."""
    before = min((1.0, *ratios[:-WINDOW]))
    after = min((before, *ratios[-WINDOW:]))
    return (before - after) / before


def hope(trials: int) -> float:
    """Part of the cost that may still be saved after so many trials."""
    return 0.5 / (1.0 + trials / 8.0)
