"""What a row schedule keeps alive: the rows of each ring, and which bytes may be shared.

Times are positions in ``Schedule.events``. A row of a tensor is needed at a time when the stage
that runs then, or one that runs later, reads it; within one event a kernel may read any row that
it needs before and after it writes its own, so rows read at the time of a write are needed.
"""

from __future__ import annotations

from collections.abc import Sequence

from footprint_compiler.program import KernelCall
from footprint_compiler.streaming.schedule import Schedule

NEVER = 1 << 60


def ring_rows(stages: Sequence[KernelCall], schedule: Schedule, producer: int) -> int:
    """Fewest rows R such that no row of the producer's output is overwritten while needed."""
    name = stages[producer].outputs[0]
    reads = row_reads(stages, schedule, name)
    needed = 0
    if schedule.descending:
        top = running_top(reads)
        for time, (stage, row) in enumerate(schedule.events):
            if stage == producer:
                needed = max(needed, top[time] - row, 1)
    else:
        bottom = running_bottom(reads)
        for time, (stage, row) in enumerate(schedule.events):
            if stage == producer:
                needed = max(needed, row - min(bottom[time], row) + 1)
    return min(needed, schedule.heights[producer])


def row_reads(
    stages: Sequence[KernelCall], schedule: Schedule, name: str, skip_exact: int = -1
) -> list[tuple[int, int]]:
    """[begin, end) of the rows of tensor ``name`` that each event reads; (NEVER, -NEVER) for none.

    Args:
        stages: of the segment.
        schedule: of the stages.
        name: a tensor; one that is read as a whole is read from row 0 to ``NEVER``.
        skip_exact: leave out what this stage reads at exactly the row that it writes.
    """
    found = []
    for stage, row in schedule.events:
        call = stages[stage]
        assert call.rows is not None
        begin, end = NEVER, -NEVER
        for position, argument in enumerate(call.inputs):
            if argument != name:
                continue
            if stage == skip_exact and position in call.rows.exact:
                continue
            window = call.rows.windows.get(position)
            low, high = (0, NEVER) if window is None else window.rows(row)
            if low < high:
                begin, end = min(begin, low), max(end, high)
        found.append((begin, end))
    return found


def running_bottom(reads: Sequence[tuple[int, int]]) -> list[int]:
    """Lowest row that is read at each time or later."""
    lowest, result = NEVER, []
    for begin, _ in reversed(reads):
        lowest = min(lowest, begin)
        result.append(lowest)
    return result[::-1]


def running_top(reads: Sequence[tuple[int, int]]) -> list[int]:
    """End of the highest row that is read at each time or later."""
    highest, result = -NEVER, []
    for _, end in reversed(reads):
        highest = max(highest, end)
        result.append(highest)
    return result[::-1]


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
    reads = row_reads(stages, schedule, source)
    if schedule.descending:
        top = running_top(reads)
        gaps = [
            top[time] * in_bytes - row * out_bytes
            for time, (stage, row) in enumerate(schedule.events)
            if stage == writer and top[time] > -NEVER
        ]
        return max(gaps, default=-NEVER)
    bottom = running_bottom(reads)
    gaps = [
        bottom[time] * in_bytes - (row + 1) * out_bytes
        for time, (stage, row) in enumerate(schedule.events)
        if stage == writer and bottom[time] < NEVER
    ]
    return min(gaps, default=NEVER)


def exact_in_place(
    stages: Sequence[KernelCall], schedule: Schedule, writer: int, source: str
) -> bool:
    """Whether the output of ``writer`` may lie exactly on ``source``, whose rows are as long.

    Row r is written when nothing but the writer itself, at element i before it writes element i,
    still needs row r of the source.
    """
    now = row_reads(stages, schedule, source, skip_exact=writer)
    later = row_reads(stages, schedule, source)
    top, bottom = running_top(later), running_bottom(later)
    for time, (stage, row) in enumerate(schedule.events):
        if stage != writer:
            continue
        begin, end = now[time]
        if begin <= row < end:
            return False
        if time + 1 == len(later):
            continue
        if schedule.descending and top[time + 1] > row:
            return False
        if not schedule.descending and bottom[time + 1] <= row:
            return False
    return True
