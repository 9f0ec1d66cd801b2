"""Exact search for offsets below a capacity: depth first over canonical solutions.

A solution is canonical when every buffer lies as low as what is below it allows; if a problem has
a solution, it has a canonical one. The search keeps a *floor* per section, below which nothing
will be placed any more, and grows the solution upwards from a *niche*: a run of sections of equal
floor between higher ones. It picks one section q of a niche and branches on what lies there:

- one of the buffers that fit between the walls of the niche and rest on its floor over q, or
- nothing: the floor of q rises to the least height at which anything could lie over q. A buffer
  that reaches over a wall lies on the wall; one inside the niche lies on another, so it is at least
  the lower wall, or the floor plus the smallest buffer inside.

Which section is picked only decides how soon a dead end shows (fewest branches first); it may be
anywhere, so that a choice far away in time is not repeated for nothing. Pruning:

- *sections*: over each section, for every height e, the buffers that cannot start below e need
  the bytes between e and the capacity one after the other (one-machine bound with release times);
- *dominance*: a buffer that would fit under the floors given up above it belongs lower: such a
  solution is found elsewhere; likewise one that would rest on nothing;
- *symmetry*: of buffers equal in everything, only the first is tried;
- *components*: buffers no longer linked by shared sections are solved one group after the other.

The ideas of canonical order, section-wise inference, dominance and decomposition are those of
M. Moffitt, "MiniMalloc: a lightweight memory allocator for hardware-accelerated machine learning",
ASPLOS 2023; that search goes by non-decreasing offset. Branching on the niches of a skyline is
known from strip packing. ``niche_search.c`` is the same search for speed; tests compare the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HUGE = 2**31 - 1

#: Ways to pick the section, always by the fewest branches first: ties by the lowest floor; by
#: branches per failure seen there; ties by the least slack.
RULES = (0, 1, 2)


@dataclass(frozen=True)
class Decision:
    """Question: buffers in order of preference, all numbers in units.

    Attributes:
        first, end: half-open range of sections of each buffer.
        size, align, limit: of each buffer; its offset may be ``limit`` at most.
        sections: how many there are.
        capacity: an upper bound on the sum of sizes stacked on each other.
        rule: one of ``RULES``.
    """

    first: Sequence[int]
    end: Sequence[int]
    size: Sequence[int]
    align: Sequence[int]
    limit: Sequence[int]
    sections: int
    capacity: int
    rule: int

    def by_first(self) -> list[int]:
        """Buffers in order of their first section; ties by preference."""
        return sorted(range(len(self.first)), key=lambda index: self.first[index])


@dataclass(frozen=True)
class Answer:
    """``found`` True with offsets, False when proven impossible, None when stopped before."""

    found: bool | None
    offsets: tuple[int, ...]
    nodes: int


class _StoppedError(Exception):
    """The node limit is reached."""


def search(decision: Decision, max_nodes: int) -> Answer:
    """Look for offsets; a node is one branch taken."""
    run = _Search(decision, max_nodes)
    try:
        found = run.solve_parts(decision.by_first())
    except _StoppedError:
        return Answer(None, (), run.nodes)
    return Answer(found, tuple(run.offset) if found else (), run.nodes)


class _Search:
    def __init__(self, decision: Decision, max_nodes: int) -> None:
        self.ask = decision
        self.max_nodes = max_nodes
        self.nodes = 0
        count = len(decision.first)
        self.spans = [range(*pair) for pair in zip(decision.first, decision.end, strict=True)]
        self.floor = [0] * decision.sections
        self.top = [0] * decision.sections
        self.slack = [0] * decision.sections
        self.failures = [0] * decision.sections
        self.offset = [0] * count
        self.lowest = [0] * count
        self.carried = [False] * count
        self.trail: list[tuple[int, int, int]] = []

    def solve_parts(self, buffers: list[int]) -> bool:
        """Place the buffers, given in order of their first section."""
        parts: list[list[int]] = []
        end = -1
        for index in buffers:
            if self.ask.first[index] >= end:
                parts.append([])
            parts[-1].append(index)
            end = max(end, self.ask.end[index])
        if len(parts) > 1 and not all(self._may_fit(part, list(part)) for part in parts):
            return False
        parts.sort(key=len)
        return all(self._solve_component(part) for part in parts)

    def _solve_component(self, buffers: list[int]) -> bool:
        ask = self.ask
        if len(buffers) == 1:
            only = buffers[0]
            at = max(self.top[section] for section in self.spans[only])
            self.offset[only] = at + -at % ask.align[only]
            return self.offset[only] <= ask.limit[only]
        trail_mark = len(self.trail)
        by_offset = list(buffers)
        while self._may_fit(buffers, by_offset):
            section, niche, raised = self._choose_section(buffers)
            candidates = sorted(
                index
                for index in buffers
                if self.carried[index]
                and section in self.spans[index]
                and ask.first[index] >= niche.start
                and ask.end[index] <= niche.stop
            )
            mark = len(self.trail)
            tried: set[tuple[int, ...]] = set()
            for index in candidates:
                kind = (
                    ask.first[index],
                    ask.end[index],
                    ask.size[index],
                    ask.align[index],
                    ask.limit[index],
                )
                if kind in tried:
                    continue
                tried.add(kind)
                self._count_node()
                at = self.floor[section] + -self.floor[section] % ask.align[index]
                self.offset[index] = at
                for covered in self.spans[index]:
                    self._raise_section(covered, at + ask.size[index], at + ask.size[index])
                if self.solve_parts([other for other in buffers if other != index]):
                    return True
                self._undo(mark)
            if raised is None:
                break
            self._count_node()
            self._raise_section(section, raised, self.top[section])
        self._undo(trail_mark)
        return False

    def _count_node(self) -> None:
        if self.nodes >= self.max_nodes:
            raise _StoppedError
        self.nodes += 1

    def _raise_section(self, section: int, floor: int, top: int) -> None:
        self.trail.append((section, self.floor[section], self.top[section]))
        self.floor[section] = floor
        self.top[section] = top

    def _undo(self, mark: int) -> None:
        while len(self.trail) > mark:
            section, self.floor[section], self.top[section] = self.trail.pop()

    def _may_fit(self, buffers: list[int], by_offset: list[int]) -> bool:
        """Refresh ``lowest`` and ``carried`` of the buffers and ``slack`` of their sections.

        ``by_offset`` is sorted by descending lowest offset, in place. False when no solution can
        come of this, with the failure counted where it showed.
        """
        ask = self.ask
        for index in buffers:
            start, end, align = ask.first[index], ask.end[index], ask.align[index]
            floors = self.floor[start:end]
            high, real = max(floors), max(self.top[start:end])
            real += -real % align
            if real + ask.size[index] <= min(floors):
                return False
            high += -high % align
            self.lowest[index] = high
            self.carried[index] = real == high
            if high > ask.limit[index]:
                self.failures[start] += 1
                return False
        by_offset.sort(key=lambda index: -self.lowest[index])
        for section in range(ask.first[buffers[0]], max(ask.end[index] for index in buffers)):
            self.slack[section] = ask.capacity
        for index in by_offset:
            least = HUGE
            for section in self.spans[index]:
                self.slack[section] -= ask.size[index]
                least = min(least, self.slack[section])
            if least < self.lowest[index]:
                for section in self.spans[index]:
                    self.failures[section] += self.slack[section] < self.lowest[index]
                return False
        return True

    def _choose_section(self, buffers: list[int]) -> tuple[int, range, int | None]:
        """(section, its niche, the floor that leaves it empty, or None when that is no branch)."""
        ask = self.ask
        best: tuple[int, range, int | None] | None = None
        best_key = 0
        begin, end = ask.first[buffers[0]], max(ask.end[index] for index in buffers)
        stop = begin
        while stop < end:
            start, floor = stop, self.floor[stop]
            while stop < end and self.floor[stop] == floor:
                stop += 1
            left = self.floor[start - 1] if start > begin else HUGE
            right = self.floor[stop] if stop < end else HUGE
            if left < floor or right < floor:
                continue
            rest = min(left, right)
            inside = {
                index for index in buffers if ask.first[index] >= start and ask.end[index] <= stop
            }
            if inside:
                rest = min(rest, floor + min(ask.size[index] for index in inside))
            options = [0] * (stop - start)
            raised = [HUGE] * (stop - start)
            for index in buffers:
                at = self.lowest[index]
                if index in inside:
                    at = rest + -rest % ask.align[index]
                for section in range(max(start, ask.first[index]), min(stop, ask.end[index])):
                    options[section - start] += index in inside and self.carried[index]
                    raised[section - start] = min(raised[section - start], at)
            for section in range(start, stop):
                leave = self.slack[section] >= raised[section - start]
                key = (options[section - start] + leave) << 40
                if ask.rule == 0:
                    key += floor
                elif ask.rule == 1:
                    key //= 1 + self.failures[section]
                else:
                    key += self.slack[section] - floor
                if best is None or key < best_key:
                    best_key = key
                    above = raised[section - start] if leave else None
                    best = section, range(start, stop), above
        assert best is not None  # the lowest floor of a component is a niche
        return best
