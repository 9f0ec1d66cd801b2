"""The lowest height within a node limit: capacities by bisection, each by searches with restarts.

A search is either quick or hopeless, and which depends on the order in which it prefers buffers.
So every capacity is tried with several orders, first by plain keys, then with the keys disturbed by
seeded random numbers; each runs for a part of the nodes, mostly short, now and then longer, by the
sequence of Luby, Sinclair and Zuckerman ("Optimal speedup of Las Vegas algorithms", 1993).
Everything counts in nodes, so the result depends on the problem and the limit alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from footprint_compiler.memory.instance import Instance, as_instance
from footprint_compiler.memory.lower_bound import lower_bound
from footprint_compiler.memory.native import native_search
from footprint_compiler.memory.niche_search import RULES, Answer, Decision, search
from footprint_compiler.memory.problem import Problem, Solution

#: Above this the lists of the search take too much memory.
MOST_BUFFERS = 2000
#: Nodes of the shortest search, per buffer.
SLICE_PER_BUFFER = 6
#: Searches for one capacity before another is tried.
RESTARTS = 15
#: Capacities given up in one round before the lower bound is tried again.
MOST_OPEN = 3
#: So many nodes are searched in Python before the compiled search is asked for.
PYTHON_NODES = 300

#: Keys of an order, most important first, all descending: total of the fullest section, length,
#: area, size.
ORDERS = ("TLA", "TAL", "STL", "ALT", "LAT")
#: How far keys are disturbed, one after the other.
DISTURBANCES = (0.0, 0.1, 0.4, 1.0)


@dataclass(frozen=True)
class Exact:
    """What is known when the search ends.

    Attributes:
        solution: the best found, the given one if nothing is better.
        bound: no solution is lower than this many bytes.
        nodes: used.
    """

    solution: Solution
    bound: int
    nodes: int

    @property
    def optimal(self) -> bool:
        return self.solution.height == self.bound


def minimise(problem: Problem, incumbent: Solution, max_nodes: int) -> Exact:
    """Improve a valid solution, or prove it minimal, within ``max_nodes`` nodes.

    A problem with pairs that may share bytes keeps its solution: the search is for rectangles.
    """
    bound = lower_bound(problem).bytes
    if incumbent.height == bound or max_nodes <= 0 or problem.gaps:
        return Exact(incumbent, bound, 0)
    instance = as_instance(problem)
    if len(instance.buffers) > MOST_BUFFERS:
        return Exact(incumbent, bound, 0)
    run = _Minimise(problem, instance, incumbent, instance.next_height(bound), max_nodes)
    with _deep_recursion(4 * len(instance.buffers)):
        run.bisect_until_done()
    return Exact(run.best, run.bound, run.nodes)


class _Minimise:
    def __init__(
        self, problem: Problem, instance: Instance, best: Solution, bound: int, max_nodes: int
    ) -> None:
        self.problem, self.instance = problem, instance
        self.best, self.bound = best, bound
        self.max_nodes, self.nodes = max_nodes, 0
        self.attempts: dict[int, int] = {}

    def bisect_until_done(self) -> None:
        while self.bound < self.best.height and self.nodes < self.max_nodes:
            self._bisect()

    def _bisect(self) -> None:
        """Down to a capacity that is neither met nor refuted; the lower bound goes first."""
        low = target = self.bound
        given_up = 0
        while low < self.best.height and self.nodes < self.max_nodes and given_up < MOST_OPEN:
            found = self._decide(target)
            low = max(low, self.bound)
            if found is None:
                given_up += 1
                low = self.instance.next_height(target + 1)
            target = self.instance.next_height((low + self.best.height) // 2)
            if target >= self.best.height:
                target = low

    def _decide(self, capacity: int) -> bool | None:
        """Whether the capacity can be met, and the bound or the best solution moved accordingly."""
        for _ in range(RESTARTS):
            attempt = self.attempts.get(capacity, 0)
            self.attempts[capacity] = attempt + 1
            part = SLICE_PER_BUFFER * len(self.instance.buffers) * luby(attempt + 1)
            nodes_now = min(part, self.max_nodes - self.nodes)
            if nodes_now <= 0:
                return None
            order = preference(self.instance, attempt)
            answer = self._ask(order, capacity, RULES[attempt % len(RULES)], nodes_now)
            self.nodes += answer.nodes
            if answer.found is None:
                continue
            if not answer.found:
                self.bound = self.instance.next_height(capacity + 1)
                return False
            offsets = [0] * len(order)
            for index, offset in zip(order, answer.offsets, strict=True):
                offsets[index] = offset
            count = len(self.problem.buffers)
            self.best = self.problem.solve_with(self.instance.offsets_bytes(offsets, count))
            return True
        return None

    def _ask(self, order: list[int], capacity: int, rule: int, nodes: int) -> Answer:
        one = self.instance
        limits = one.limits(capacity)
        decision = Decision(
            first=[one.first[index] for index in order],
            end=[one.end[index] for index in order],
            size=[one.size[index] for index in order],
            align=[one.align[index] for index in order],
            limit=[limits[index] for index in order],
            sections=one.sections,
            capacity=one.capacity_units(capacity),
            rule=rule,
        )
        if self.nodes < PYTHON_NODES:
            answer = search(decision, min(nodes, PYTHON_NODES))
            if answer.found is not None or nodes <= PYTHON_NODES:
                return answer
        return native_search(decision, nodes) or search(decision, nodes)


def luby(position: int) -> int:
    """1, 1, 2, 1, 1, 2, 4, 1, 1, 2, 1, 1, 2, 4, 8, ...; the first position is 1."""
    while True:
        bits = position.bit_length()
        if position == 2**bits - 1:
            return 1 << (bits - 1)
        position -= 2 ** (bits - 1) - 1


def preference(instance: Instance, attempt: int) -> list[int]:
    """The order in which attempt number ``attempt`` prefers buffers."""
    names = ORDERS[attempt % len(ORDERS)]
    tries = attempt // len(ORDERS)
    amount = DISTURBANCES[min(tries, len(DISTURBANCES) - 1)]
    random = Random(attempt)
    columns: list[list[float]] = []
    for position, name in enumerate(names):
        values = [float(value) for value in _key(instance, name)]
        if amount and name == "T":
            step = max(1.0, 0.06 * amount * max(values))
            values = [value // step for value in values]
        elif amount and position < 2:
            values = [value * (1 + 2 * amount * random.random()) for value in values]
        columns.append(values)
    keys = list(zip(*columns, strict=True))
    return sorted(range(len(instance.size)), key=lambda index: keys[index], reverse=True)


def _key(instance: Instance, name: str) -> list[int]:
    spans = list(zip(instance.first, instance.end, strict=True))
    lengths = instance.length
    if name == "T":
        return [max(instance.totals[start:end]) for start, end in spans]
    if name == "L":
        return list(lengths)
    if name == "A":
        return [length * size for length, size in zip(lengths, instance.size, strict=True)]
    return list(instance.size)


@contextmanager
def _deep_recursion(frames: int) -> Iterator[None]:
    """The search in Python recurses a few frames per placed buffer."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, frames + 1000))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
