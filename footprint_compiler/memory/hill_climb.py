"""Hill climb over placement orders: a quick incumbent where the greedy orders are not enough."""

from __future__ import annotations

from random import Random

from footprint_compiler.memory.lower_bound import lower_bound
from footprint_compiler.memory.planners import place_in_order
from footprint_compiler.memory.problem import Problem, Solution

TRIALS = 40


def hill_climb(problem: Problem, start: Solution, trials: int = TRIALS, seed: int = 1) -> Solution:
    """Improve a solution; the same for the same arguments, and never higher than ``start``.

    Each trial takes a buffer that ends at the height, moves it before a random one of those it is
    live with, and places all anew, each at its lowest gap. A trial that is not higher is kept.
    """
    bound, random = lower_bound(problem).bytes, Random(seed)
    buffers = problem.buffers
    best, current = start, start
    order = sorted(range(len(buffers)), key=lambda index: start.offsets[index])
    for _ in range(trials):
        if best.height == bound:
            break
        highest = random.choice(
            [
                index
                for index in order
                if buffers[index].size
                and current.offsets[index] + buffers[index].size == current.height
            ]
        )
        earlier = order[: order.index(highest)]
        rivals = [
            position
            for position, index in enumerate(earlier)
            if buffers[index].lower < buffers[highest].upper
            and buffers[highest].lower < buffers[index].upper
        ]
        if not rivals:
            break
        moved = [index for index in order if index != highest]
        moved.insert(random.choice(rivals), highest)
        trial = place_in_order(problem, moved)
        if trial.height <= current.height:
            order, current = moved, trial
            best = min(best, trial, key=lambda one: one.height)
    return best
