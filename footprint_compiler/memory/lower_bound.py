"""A number of bytes below which no plan can go, whatever the offsets.

At any step the live buffers lie side by side. Every offset is a multiple of g, the greatest common
divisor of their alignments, so each buffer but the topmost takes its size rounded up to g. Which
one is topmost is the planner's choice: the bound lets it be the one that wastes most.

    bound(step) = sum(round_up(size, g)) - max(round_up(size, g) - size)

Two that may share bytes with each other and with no third one count as one buffer, of the fewest
bytes that hold both. What may share with several counts its plain size, less what every pair can
share at best.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import gcd

from footprint_compiler.memory.problem import Problem


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
        needed = _needed(problem, live)
        if needed > best.bytes:
            best = LowerBound(needed, step, tuple(sorted(live)))
    return best


def _needed(problem: Problem, live: list[int]) -> int:
    """Bytes that the buffers ``live`` take together, at least."""
    sizes = {index: problem.buffers[index].size for index in live if problem.buffers[index].size}
    if not sizes:
        return 0
    step = gcd(*(problem.buffers[index].align for index in sizes))
    pairs = {
        (min(gap.low, gap.high), max(gap.low, gap.high))
        for gap in problem.gaps
        if gap.low in sizes and gap.high in sizes
    }
    often = Counter(index for pair in pairs for index in pair)
    alone = {pair for pair in pairs if often[pair[0]] == often[pair[1]] == 1}
    blocks = [size for index, size in sizes.items() if index not in often]
    blocks += [_span(problem, *pair, step) for pair in alone]
    chained = set(often).difference(*alone)
    shared = sum(
        sizes[one] + sizes[other] - _span(problem, one, other, 1) for one, other in pairs - alone
    )
    rest = sum(sizes[index] for index in chained) - shared
    return max(_side_by_side(blocks, step) + rest, *sizes.values())


def _span(problem: Problem, one: int, other: int, step: int) -> int:
    """The fewest bytes that hold both, whose starts differ by a multiple of ``step``."""
    sizes = {index: problem.buffers[index].size for index in (one, other)}
    spans = []
    for low, high in ((one, other), (other, one)):
        start = problem.separation(low, high)
        start = max(0, start + -start % step)
        spans.append(max(sizes[low], start + sizes[high]))
    return min(spans)


def _side_by_side(sizes: list[int], step: int) -> int:
    waste = [-size % step for size in sizes]
    return sum(sizes) + sum(waste) - max(waste, default=0)
