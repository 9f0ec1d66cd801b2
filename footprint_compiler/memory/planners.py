"""Quick planners: put the buffers in some order, then give each the best gap left for it.

All are deterministic (ties fall to the earlier buffer) and take O(n) NumPy work per buffer. The
capacity of the problem is not used: each returns the lowest height it finds.

Sources of the orders: by size, M. Pisarchyk and J. Lee, "Efficient memory management for deep
neural net inference", 2020 (arXiv 2001.03288); by conflicts, the usual order of greedy graph
colouring.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from footprint_compiler.memory.lower_bound import lower_bound
from footprint_compiler.memory.place_with_gaps import place_with_gaps
from footprint_compiler.memory.problem import Problem, Solution

Planner = Callable[[Problem], Solution]
Ints = npt.NDArray[np.int64]


def greedy_by_size(problem: Problem) -> Solution:
    """Largest first, each at the lowest gap."""
    return _place(problem, _ordered(problem, _sizes(problem)), _lowest_gap)


def greedy_by_conflicts(problem: Problem) -> Solution:
    """Most simultaneously live buffers first, then largest, each at the lowest gap."""
    keys = [(count, size) for count, size in zip(_conflicts(problem), _sizes(problem), strict=True)]
    return _place(problem, _ordered(problem, keys), _lowest_gap)


def greedy_by_length(problem: Problem) -> Solution:
    """Longest live range first, then largest, each at the lowest gap."""
    keys = [(buffer.upper - buffer.lower, buffer.size) for buffer in problem.buffers]
    return _place(problem, _ordered(problem, keys), _lowest_gap)


def greedy_by_first_step(problem: Problem) -> Solution:
    """In order of execution, then largest first, each at the lowest gap."""
    keys = [(-buffer.lower, buffer.size) for buffer in problem.buffers]
    return _place(problem, _ordered(problem, keys), _lowest_gap)


def best_fit(problem: Problem) -> Solution:
    """Largest first, each in the gap that it fills best."""
    return _place(problem, _ordered(problem, _sizes(problem)), _tightest_gap)


PLANNERS: dict[str, Planner] = {
    "greedy_by_size": greedy_by_size,
    "greedy_by_conflicts": greedy_by_conflicts,
    "greedy_by_length": greedy_by_length,
    "greedy_by_first_step": greedy_by_first_step,
    "best_fit": best_fit,
}


def best_of(problem: Problem) -> tuple[str, Solution]:
    """Name and solution of the planner with the lowest height; the first named wins a tie.

    Planners after one that meets the lower bound are not run: none can do better.
    """
    bound = lower_bound(problem).bytes
    best: tuple[str, Solution] | None = None
    for name, planner in PLANNERS.items():
        solution = planner(problem)
        if best is None or solution.height < best[1].height:
            best = name, solution
        if best[1].height == bound:
            break
    assert best is not None  # PLANNERS is not empty
    return best


def _sizes(problem: Problem) -> list[int]:
    return [buffer.size for buffer in problem.buffers]


def _conflicts(problem: Problem) -> list[int]:
    """Number of other buffers live at the same time: those begun minus those already ended."""
    lower = np.array([buffer.lower for buffer in problem.buffers], np.int64)
    upper = np.array([buffer.upper for buffer in problem.buffers], np.int64)
    begun = np.searchsorted(np.sort(lower), upper, side="left")
    ended = np.searchsorted(np.sort(upper), lower, side="right")
    counts: list[int] = (begun - ended - 1).tolist()
    return counts


def _ordered(problem: Problem, keys: Sequence[int] | Sequence[tuple[int, int]]) -> list[int]:
    """Indices by descending key; the sort is stable, so ties keep the problem's order."""
    return sorted(range(len(problem.buffers)), key=lambda index: keys[index], reverse=True)


def place_in_order(problem: Problem, order: Sequence[int]) -> Solution:
    """Each buffer, in this order, at its lowest gap."""
    return _place(problem, order, _lowest_gap)


def _lowest_gap(room: Ints) -> int:
    return int(np.argmax(room >= 0))


def _tightest_gap(room: Ints) -> int:
    return int(np.argmin(np.where(room >= 0, room, np.iinfo(np.int64).max)))


def _place(problem: Problem, order: Sequence[int], choose: Callable[[Ints], int]) -> Solution:
    """Place the buffers one after the other.

    ``placed`` has one column (offset, end, lower, upper) per placed buffer, by ascending offset,
    so that the gaps left for a buffer come from one running maximum over those that conflict.
    """
    if problem.gaps:
        return place_with_gaps(problem, order)
    total = sum(buffer.size + buffer.align for buffer in problem.buffers)
    offsets = [0] * len(problem.buffers)
    placed = np.empty((4, len(problem.buffers)), np.int64)
    count = 0
    for index in order:
        buffer = problem.buffers[index]
        if buffer.size == 0:
            continue
        now = placed[:, :count]
        near = now[:, (now[2] < buffer.upper) & (now[3] > buffer.lower)]
        floors = np.concatenate(([0], np.maximum.accumulate(near[1])))
        floors += -floors % buffer.align
        ceilings = np.append(near[0], total * 2)  # above everything: the last gap always fits
        gap = choose(ceilings - floors - buffer.size)
        offset = int(floors[gap])
        offsets[index] = offset
        at = int(np.searchsorted(now[0], offset))
        placed[:, at + 1 : count + 1] = placed[:, at:count].copy()
        placed[:, at] = offset, offset + buffer.size, buffer.lower, buffer.upper
        count += 1
    return problem.solve_with(offsets)
