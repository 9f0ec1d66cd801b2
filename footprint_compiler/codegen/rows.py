"""The C function that runs a segment: nested loops over the rows of its stages.

A stage's rows are counted in a variable. Before a row, a loop runs each producer up to the count
that the row needs, which is linear in the row and bounded by the producer's height.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from footprint_compiler.program import KernelCall
from footprint_compiler.streaming.schedule import Demand, Schedule, schedule_rows


@dataclass(frozen=True)
class SegmentSource:
    """What the template of the entry point writes for one segment.

    Attributes:
        function: C name.
        counters: variables that count rows.
        lines: statements of the function, indented.
    """

    function: str
    counters: tuple[str, ...]
    lines: tuple[str, ...]


def segment_source(
    call: KernelCall, arguments: Sequence[Sequence[str]], descending: bool
) -> SegmentSource:
    """The function of a segment.

    Args:
        call: with ``segment``.
        arguments: C expressions of each stage's pointers.
        descending: the way that the plan needs.
    """
    assert call.segment is not None
    schedule = schedule_rows(call.segment.stages, frozenset(call.outputs), descending)
    writer = _Writer(call.segment.stages, arguments, schedule)
    for root in schedule.roots:
        writer.run(root, str(schedule.heights[root]), 1)
    counters = tuple(f"r{stage}" for stage in range(len(schedule.heights)))
    return SegmentSource(call.kernel, counters, tuple(writer.lines))


class _Writer:
    def __init__(
        self,
        stages: Sequence[KernelCall],
        arguments: Sequence[Sequence[str]],
        schedule: Schedule,
    ) -> None:
        self.stages, self.arguments, self.schedule = stages, arguments, schedule
        self.lines: list[str] = []

    def run(self, stage: int, rows: str, depth: int) -> None:
        """Statements that compute rows of ``stage`` until ``rows`` of them are there."""
        self._line(depth, f"for (; r{stage} < {rows}; r{stage}++) {{")
        for asked in self.schedule.demands[stage]:
            self._demand(stage, asked, depth + 1)
        row = f"r{stage}"
        if self.schedule.descending:
            row = f"{self.schedule.heights[stage] - 1} - {row}"
        pointers = ", ".join(self.arguments[stage])
        self._line(depth + 1, f"{self.stages[stage].kernel}({pointers}, {row});")
        self._line(depth, "}")

    def _demand(self, stage: int, asked: Demand, depth: int) -> None:
        producer = asked.stage
        wanted = _linear(f"r{stage}", asked.stride, asked.ahead)
        highest = (self.schedule.heights[stage] - 1) * asked.stride + asked.ahead
        if highest <= asked.limit:
            self.run(producer, wanted, depth)
            return
        self.run(producer, f"{asked.limit} && r{producer} < {wanted}", depth)

    def _line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)


def _linear(variable: str, factor: int, constant: int) -> str:
    term = variable if factor == 1 else f"{variable} * {factor}"
    if constant == 0:
        return term
    return f"{term} {'+' if constant > 0 else '-'} {abs(constant)}"
