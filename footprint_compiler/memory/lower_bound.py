"""A number of bytes below which no plan can go, whatever the offsets.

At any step the live buffers lie side by side. Every offset is a multiple of g, the greatest common
divisor of their alignments, so each buffer but the topmost takes its size rounded up to g. Which
one is topmost is the planner's choice: the bound lets it be the one that wastes most.

    bound(step) = sum(round_up(size, g)) - max(round_up(size, g) - size)

Each pair that may share bytes lowers the bound by as much as it can share at best.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from footprint_compiler.memory.problem import Buffer, Problem


@dataclass(frozen=True)
class LowerBound:
    """The bound, the first step that attains it, and the buffers live there (as indices)."""

    bytes: int
    step: int
    live: tuple[int, ...]


def lower_bound(problem: Problem) -> LowerBound:
    """Max over steps of live bytes; the live set only grows where some buffer begins."""
    buffers = problem.buffers
    starts = sorted(range(len(buffers)), key=lambda index: buffers[index].lower)
    best = LowerBound(0, 0, ())
    live: list[int] = []
    for position, index in enumerate(starts):
        step = buffers[index].lower
        live = [other for other in live if buffers[other].upper > step]
        live.append(index)
        if position + 1 < len(starts) and buffers[starts[position + 1]].lower == step:
            continue
        needed = _side_by_side([buffers[other] for other in live])
        if problem.gaps:
            needed = _with_gaps(problem, live, needed)
        if needed > best.bytes:
            best = LowerBound(needed, step, tuple(sorted(live)))
    return best


def _with_gaps(problem: Problem, live: list[int], apart: int) -> int:
    """What is left of ``apart`` when all pairs share all they can; never less than one buffer."""
    pairs = {
        (min(gap.low, gap.high), max(gap.low, gap.high))
        for gap in problem.gaps
        if gap.low in live and gap.high in live
    }
    shared = sum(_shared(problem, *pair) for pair in pairs)
    return max(apart - shared, max(problem.buffers[index].size for index in live))


def _shared(problem: Problem, one: int, other: int) -> int:
    sizes = {index: problem.buffers[index].size for index in (one, other)}
    span = sum(sizes.values())
    for low, high in ((one, other), (other, one)):
        start = problem.separation(low, high)
        inside = start <= max(0, sizes[low] - sizes[high])
        span = min(span, max(sizes.values()) if inside else start + sizes[high])
    return sum(sizes.values()) - span


def _side_by_side(live: list[Buffer]) -> int:
    filled = [buffer for buffer in live if buffer.size]
    if not filled:
        return 0
    step = gcd(*(buffer.align for buffer in filled))
    waste = [-buffer.size % step for buffer in filled]
    return sum(buffer.size for buffer in filled) + sum(waste) - max(waste)
