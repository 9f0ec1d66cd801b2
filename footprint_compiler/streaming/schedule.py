"""In which order the rows of a segment are computed: on demand, from its last stage.

To compute its next row, a stage first asks its producers, in the order of its inputs, for the rows
that it lacks. Nothing is computed twice, and a row only when a later stage cannot go on without
it. Rows are counted from the first one computed: upwards from row 0, or downwards from the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from footprint_compiler.program import KernelCall
from footprint_compiler.streaming.window import Window


@dataclass(frozen=True)
class Demand:
    """``stage`` must have computed min(limit, count * stride + ahead) rows before row ``count``."""

    stage: int
    stride: int
    ahead: int
    limit: int

    def rows(self, count: int) -> int:
        return min(self.limit, count * self.stride + self.ahead)


@dataclass(frozen=True)
class Schedule:
    """The rows of a segment in the order of computation.

    Attributes:
        heights: rows of each stage.
        descending: whether rows are computed from the last one down.
        events: (stage, row) of every row that is computed.
        demands: per stage, what it asks for; those that never cause a row are left out.
        roots: stages that are run to their last row, one after the other.
        nested: whether each stage is asked for by one other at most, roots by none.
    """

    heights: tuple[int, ...]
    descending: bool
    events: tuple[tuple[int, int], ...]
    demands: tuple[tuple[Demand, ...], ...]
    roots: tuple[int, ...]
    nested: bool

    @cached_property
    def of_stage(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """Per stage, (time, row) of its events; a time is a position in ``events``."""
        found: list[list[tuple[int, int]]] = [[] for _ in self.heights]
        for time, (stage, row) in enumerate(self.events):
            found[stage].append((time, row))
        return tuple(tuple(one) for one in found)


def demand(window: Window, height: int, stage: int, descending: bool) -> Demand:
    """What a stage of ``height`` rows asks of the producer of an input with this window."""
    ahead = window.span - window.before
    if descending:
        ahead = window.height - (height - 1) * window.stride + window.before
    return Demand(stage, window.stride, ahead, window.height)


def schedule_rows(
    stages: Sequence[KernelCall], escaping: frozenset[str], descending: bool
) -> Schedule:
    """Run the stages on paper.

    Args:
        stages: calls with ``rows``, producers first.
        escaping: outputs that are used after the segment.
        descending: compute rows from the last one down.
    """
    return _Run(stages, escaping, descending).schedule()


@dataclass
class _Run:
    stages: Sequence[KernelCall]
    escaping: frozenset[str]
    descending: bool
    done: list[int] = field(default_factory=list)
    events: list[tuple[int, int]] = field(default_factory=list)
    caused: set[tuple[int, int]] = field(default_factory=set)

    def schedule(self) -> Schedule:
        heights = tuple(_height(stage) for stage in self.stages)
        self.done = [0] * len(self.stages)
        demands = self._demands(heights)
        last = len(self.stages) - 1
        roots = [last]
        self._ensure(last, heights[last], heights, demands)
        for index in range(last - 1, -1, -1):
            if self.stages[index].outputs[0] in self.escaping and self.done[index] < heights[index]:
                roots.append(index)
                self._ensure(index, heights[index], heights, demands)
        kept = tuple(
            tuple(one for at, one in enumerate(asked) if (index, at) in self.caused)
            for index, asked in enumerate(demands)
        )
        asked = [one.stage for group in kept for one in group]
        nested = len(asked) == len(set(asked)) and not set(asked) & set(roots)
        return Schedule(heights, self.descending, tuple(self.events), kept, tuple(roots), nested)

    def _demands(self, heights: Sequence[int]) -> list[list[Demand]]:
        producer = {stage.outputs[0]: index for index, stage in enumerate(self.stages)}
        found: list[list[Demand]] = []
        for index, stage in enumerate(self.stages):
            assert stage.rows is not None
            found.append(
                [
                    demand(
                        window, heights[index], producer[stage.inputs[position]], self.descending
                    )
                    for position, window in sorted(stage.rows.windows.items())
                    if producer.get(stage.inputs[position], index) < index
                ]
            )
        return found

    def _ensure(
        self, index: int, rows: int, heights: Sequence[int], demands: list[list[Demand]]
    ) -> None:
        while self.done[index] < rows:
            count = self.done[index]
            for at, one in enumerate(demands[index]):
                wanted = one.rows(count)
                if self.done[one.stage] < wanted:
                    self.caused.add((index, at))
                    self._ensure(one.stage, wanted, heights, demands)
            row = heights[index] - 1 - count if self.descending else count
            self.events.append((index, row))
            self.done[index] = count + 1


def _height(stage: KernelCall) -> int:
    assert stage.rows is not None
    return stage.rows.height
