"""The cheapest assignment of small choices under costs of one or two of them: exact elimination.

Each variable takes one of its choices; the cost is a sum of tables, each over a few variables.
Variables are eliminated one by one, the one with the smallest table next: the tables that mention
it are summed, and the minimum over its choices becomes a table of its neighbours. On chains and
trees that is dynamic programming along them, with joins the tables grow with the frontier. Where
one would exceed ``TABLE_ENTRIES`` the most connected variable is tried choice by choice instead,
each a node of a search; beyond ``nodes`` of them the rest follows the cheapest choice so far, and
the solution is not said to be optimal. Deterministic: ties go to the earliest choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import prod

import numpy as np

TABLE_ENTRIES = 1 << 16
NODES = 200


@dataclass(frozen=True)
class Table:
    """Costs of the choices of ``scope``, one axis for each variable."""

    scope: tuple[int, ...]
    costs: np.ndarray


@dataclass
class Choices:
    """Variables by number, and the tables that price them.

    Attributes:
        sizes: choices of each variable.
        tables: to be summed.
    """

    sizes: list[int] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)

    def variable(self, size: int) -> int:
        """A new variable."""
        self.sizes.append(size)
        return len(self.sizes) - 1

    def price(self, scope: Sequence[int], costs: np.ndarray) -> None:
        """Add a table; ``inf`` forbids a combination."""
        self.tables.append(Table(tuple(scope), np.asarray(costs, np.float64)))

    def cost(self, assignment: Sequence[int]) -> float:
        """The sum of all tables under an assignment."""
        return float(
            sum(table.costs[tuple(assignment[v] for v in table.scope)] for table in self.tables)
        )


@dataclass(frozen=True)
class Solution:
    """An assignment, its cost, and whether no other is cheaper."""

    assignment: tuple[int, ...]
    cost: float
    optimal: bool


def solve(choices: Choices, entries: int = TABLE_ENTRIES, nodes: int = NODES) -> Solution:
    """The cheapest assignment.

    Args:
        entries: most entries of a table.
        nodes: most choices tried for variables that cannot be eliminated.
    """
    search = _Search(choices.sizes, entries, nodes)
    found = search.run(list(choices.tables), set(range(len(choices.sizes))))
    assignment = tuple(found[v] for v in range(len(choices.sizes)))
    return Solution(assignment, choices.cost(assignment), search.optimal)


class _Search:
    def __init__(self, sizes: Sequence[int], entries: int, nodes: int) -> None:
        self.sizes, self.entries, self.nodes = sizes, entries, nodes
        self.optimal = True

    def run(self, tables: list[Table], left: set[int]) -> dict[int, int]:
        """The cheapest choices of the variables ``left``, which alone the tables mention."""
        steps: list[tuple[int, Table]] = []
        left = set(left)
        known = dict(enumerate(tables))
        numbers: dict[int, set[int]] = {v: set() for v in left}
        for number, table in known.items():
            for v in table.scope:
                numbers[v].add(number)
        neighbours = _neighbours(tables, left)
        width = {v: self._entries(neighbours[v]) for v in left}
        queue = [(width[v], v) for v in left]
        heapify(queue)
        added = len(tables)
        while left:
            found_width, best = heappop(queue)
            if best not in left or found_width != width[best]:
                continue  # it is gone, or queued again since
            if width[best] * self.sizes[best] > self.entries:
                found = self._branch(list(known.values()), left, neighbours)
                break
            mine = {number: known.pop(number) for number in sorted(numbers[best])}
            scope = (*sorted(neighbours[best]), best)
            joined = sum(
                (_spread(t, scope) for t in mine.values()),
                np.zeros([self.sizes[v] for v in scope]),
            )
            steps.append((best, Table(scope, joined)))
            left.remove(best)
            if len(scope) > 1:
                known[added] = Table(scope[:-1], joined.min(axis=-1))
            for v in scope[:-1]:
                numbers[v] = (numbers[v] - set(mine)) | {added}
                neighbours[v] = (neighbours[v] | set(scope)) - {v, best}
                width[v] = self._entries(neighbours[v])
                heappush(queue, (width[v], v))
            added += 1
        else:
            found = {}
        for variable, table in reversed(steps):
            fixed = tuple(found[v] for v in table.scope[:-1])
            found[variable] = int(table.costs[fixed].argmin())
        return found

    def _entries(self, variables: set[int]) -> int:
        return prod(self.sizes[v] for v in variables)

    def _branch(
        self, tables: list[Table], left: set[int], neighbours: dict[int, set[int]]
    ) -> dict[int, int]:
        """Every choice of the most connected variable, the cheapest by its own tables first."""
        variable = max(left, key=lambda v: (len(neighbours[v]), -v))
        bounds = [
            sum(float(_fix(t, variable, c).costs.min()) for t in tables if variable in t.scope)
            for c in range(self.sizes[variable])
        ]
        best: dict[int, int] | None = None
        best_cost = np.inf
        for choice in sorted(range(self.sizes[variable]), key=lambda c: (bounds[c], c)):
            if best is not None and self.nodes <= 0:
                self.optimal = False
                break
            self.nodes -= 1
            fixed = [_fix(t, variable, choice) if variable in t.scope else t for t in tables]
            constant = sum(float(t.costs) for t in fixed if not t.scope)
            inner = [t for t in fixed if t.scope]
            found = self.run(inner, left - {variable})
            cost = constant + sum(float(t.costs[tuple(found[v] for v in t.scope)]) for t in inner)
            if best is None or cost < best_cost:
                best, best_cost = {**found, variable: choice}, cost
        assert best is not None  # every variable has a choice
        return best


def _neighbours(tables: Sequence[Table], left: set[int]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {v: set() for v in left}
    for table in tables:
        for variable in table.scope:
            found[variable].update(table.scope)
    for variable, others in found.items():
        others.discard(variable)
    return found


def _spread(table: Table, scope: tuple[int, ...]) -> np.ndarray:
    """The costs with one axis for each variable of ``scope``, of size one where it is not read."""
    order = sorted(range(len(table.scope)), key=lambda at: scope.index(table.scope[at]))
    costs = table.costs.transpose(order)
    sizes = iter(costs.shape)
    return costs.reshape([next(sizes) if v in table.scope else 1 for v in scope])


def _fix(table: Table, variable: int, choice: int) -> Table:
    at = table.scope.index(variable)
    scope = table.scope[:at] + table.scope[at + 1 :]
    return Table(scope, np.take(table.costs, choice, axis=at))
