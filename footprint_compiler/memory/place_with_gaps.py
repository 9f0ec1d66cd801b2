"""Placing buffers one after the other where some pairs may share bytes.

A buffer that is placed forbids the starts of another between two bounds, which differ for every
pair: from its own start less what the other takes below it, to its start plus what it takes itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from footprint_compiler.memory.problem import Problem, Solution


def place_with_gaps(problem: Problem, order: Sequence[int]) -> Solution:
    """Each buffer, in this order, at the lowest start that the buffers before it allow."""
    nearer = {(gap.low, gap.high): gap.bytes for gap in problem.gaps}
    buffers = problem.buffers
    offsets = [0] * len(buffers)
    placed: list[int] = []
    for index in order:
        buffer = buffers[index]
        if buffer.size == 0:
            continue
        forbidden = sorted(
            (
                offsets[other] - min(buffer.size, nearer.get((index, other), buffer.size)),
                offsets[other]
                + min(buffers[other].size, nearer.get((other, index), buffers[other].size)),
            )
            for other in placed
            if buffers[other].lower < buffer.upper and buffer.lower < buffers[other].upper
        )
        start = 0
        moved = True
        while moved:
            moved = False
            for low, high in forbidden:
                if low < start < high:
                    start, moved = high + -high % buffer.align, True
        offsets[index] = start
        placed.append(index)
    return problem.solve_with(offsets)
