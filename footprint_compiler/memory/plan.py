"""The finished memory plan: which tensor lies where, why the peak is what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Placement:
    """Where one storage lies.

    Attributes:
        pool: name of the memory pool.
        offset_bytes, size_bytes: inside the pool's arena.
        first_step, end_step: half-open live range; a step is the index of a kernel call.
    """

    pool: str
    offset_bytes: int
    size_bytes: int
    first_step: int
    end_step: int


@dataclass(frozen=True)
class MemoryPlan:
    """Placements of every tensor and scratch block of a program.

    Attributes:
        placements: tensor name (views included) -> placement; scratch block k of step s is
            named ``scratch:<s>:<k>``.
        arena_bytes: size of the arena, a multiple of ``align_bytes``.
        align_bytes: alignment that the arena's first byte must have.
        peak_bytes: highest byte used.
        lower_bound_bytes: max over steps of live bytes.
        naive_bytes: sum of all storages, no reuse.
        live_at_peak: names live at a step that attains the lower bound, largest first.
        planner: name of the planner whose solution won.
        optimal: True only when peak equals a proven lower bound.
    """

    placements: Mapping[str, Placement]
    arena_bytes: int
    align_bytes: int
    peak_bytes: int
    lower_bound_bytes: int
    naive_bytes: int
    live_at_peak: tuple[str, ...]
    planner: str
    optimal: bool

    @property
    def gap(self) -> float:
        """peak / lower bound - 1; 0 means proven minimal for this order."""
        return self.peak_bytes / self.lower_bound_bytes - 1 if self.lower_bound_bytes else 0.0
