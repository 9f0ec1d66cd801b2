"""What a row schedule keeps alive: the rows of each ring, and which bytes may be shared.

Times are positions in ``Schedule.events``. A row of a tensor is needed at a time when the stage
that runs then, or one that runs later, reads it; within one event a kernel may read any row that
it needs before and after it writes its own, so rows read at the time of a write are needed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from footprint_compiler.program import KernelCall
from footprint_compiler.streaming.schedule import Schedule

NEVER = 1 << 60


class Read(NamedTuple):
    """An event reads the rows [begin, end) of a tensor."""

    time: int
    begin: int
    end: int


class Needs:
    """Rows of one tensor that are still needed at each time.

    Args:
        stages: of the segment.
        schedule: of the stages.
        name: the tensor; where it is read as a whole, it is read from row 0 to ``NEVER``.
        skip_exact: leave out what this stage reads at exactly the row that it writes.
    """

    def __init__(
        self, stages: Sequence[KernelCall], schedule: Schedule, name: str, skip_exact: int = -1
    ) -> None:
        self.reads = _reads(stages, schedule, name, skip_exact)
        self.times = [read.time for read in self.reads]
        lowest, highest = NEVER, -NEVER
        self._bottom, self._top = [lowest], [highest]
        for read in reversed(self.reads):
            lowest, highest = min(lowest, read.begin), max(highest, read.end)
            self._bottom.append(lowest)
            self._top.append(highest)
        self._bottom.reverse()
        self._top.reverse()

    def bottom(self, time: int) -> int:
        """Lowest row that is read at this time or later; ``NEVER`` when none is."""
        return self._bottom[bisect_left(self.times, time)]

    def top(self, time: int) -> int:
        """End of the highest row that is read at this time or later; ``-NEVER`` when none is."""
        return self._top[bisect_left(self.times, time)]

    def at(self, time: int) -> tuple[int, int]:
        """[begin, end) of the rows that are read at this time."""
        place = bisect_left(self.times, time)
        if place == len(self.times) or self.times[place] != time:
            return NEVER, -NEVER
        return self.reads[place].begin, self.reads[place].end


def _reads(
    stages: Sequence[KernelCall], schedule: Schedule, name: str, skip_exact: int
) -> list[Read]:
    found = []
    for stage, call in enumerate(stages):
        assert call.rows is not None
        windows = [
            call.rows.windows.get(position)
            for position, argument in enumerate(call.inputs)
            if argument == name and not (stage == skip_exact and position in call.rows.exact)
        ]
        if not windows:
            continue
        if len(windows) == 1 and windows[0] is not None:
            rows = windows[0].rows
            found += [Read(time, *rows(row)) for time, row in schedule.of_stage[stage]]
            continue
        for time, row in schedule.of_stage[stage]:
            spans = [(0, NEVER) if window is None else window.rows(row) for window in windows]
            spans = [(begin, end) for begin, end in spans if begin < end]
            if spans:
                begin, end = min(one[0] for one in spans), max(one[1] for one in spans)
                found.append(Read(time, begin, end))
    return sorted(one for one in found if one.begin < one.end)


def ring_rows(stages: Sequence[KernelCall], schedule: Schedule, producer: int) -> int:
    """Fewest rows R such that no row of the producer's output is overwritten while needed."""
    needs = Needs(stages, schedule, stages[producer].outputs[0])
    needed = 1
    for time, row in schedule.of_stage[producer]:
        span = needs.top(time) - row if schedule.descending else row - needs.bottom(time) + 1
        needed = max(needed, span)
    return min(needed, schedule.heights[producer])


def distance(
    stages: Sequence[KernelCall],
    schedule: Schedule,
    writer: int,
    source: str,
    row_bytes: tuple[int, int],
) -> int:
    """How close the output of stage ``writer`` may come to the input ``source``.

    Args:
        stages: of the segment.
        schedule: ascending or descending.
        writer: stage whose output is meant.
        source: tensor that the segment reads.
        row_bytes: of the output and of the source.

    Returns:
        The largest offset of the output relative to the source when rows go upwards; the smallest
        when they go downwards.
    """
    out_bytes, in_bytes = row_bytes
    needs = Needs(stages, schedule, source)
    if schedule.descending:
        gaps = [
            needs.top(time) * in_bytes - row * out_bytes
            for time, row in schedule.of_stage[writer]
            if needs.top(time) > -NEVER
        ]
        return max(gaps, default=-NEVER)
    gaps = [
        needs.bottom(time) * in_bytes - (row + 1) * out_bytes
        for time, row in schedule.of_stage[writer]
        if needs.bottom(time) < NEVER
    ]
    return min(gaps, default=NEVER)


def exact_in_place(
    stages: Sequence[KernelCall], schedule: Schedule, writer: int, source: str
) -> bool:
    """Whether the output of ``writer`` may lie exactly on ``source``, whose rows are as long.

    Row r is written when nothing but the writer itself, at element i before it writes element i,
    still needs row r of the source.
    """
    now = Needs(stages, schedule, source, skip_exact=writer)
    later = Needs(stages, schedule, source)
    for time, row in schedule.of_stage[writer]:
        begin, end = now.at(time)
        if begin <= row < end:
            return False
        if schedule.descending and later.top(time + 1) > row:
            return False
        if not schedule.descending and later.bottom(time + 1) <= row:
            return False
    return True
