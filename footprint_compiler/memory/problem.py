"""The planning problem as integers only, so that planners know nothing of tensors or kernels.

A problem is a set of rectangles with a fixed horizontal position (the live range) and a free
vertical one (the offset); rectangles that share a step must not share a byte. CSV form, as used
by public buffer-allocation benchmarks: ``id,lower,upper,size`` and, with a solution, ``offset``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from footprint_compiler.errors import UsageError

COLUMNS = ("id", "lower", "upper", "size")


@dataclass(frozen=True)
class Buffer:
    """One buffer.

    Attributes:
        id: unique in its problem; any text.
        lower, upper: half-open live range in steps, ``lower < upper``.
        size: bytes, 0 or more.
        align: the offset is a multiple of this many bytes.
    """

    id: str
    lower: int
    upper: int
    size: int
    align: int = 1

    def __post_init__(self) -> None:
        if self.lower >= self.upper:
            raise ValueError(f"buffer {self.id}: empty live range [{self.lower}, {self.upper})")
        if self.size < 0:
            raise ValueError(f"buffer {self.id}: negative size {self.size}")
        if self.align < 1:
            raise ValueError(f"buffer {self.id}: alignment {self.align} is less than 1")


@dataclass(frozen=True)
class Gap:
    """When buffer ``low`` starts below buffer ``high``, starts ``bytes`` apart are enough.

    Without a gap that takes the size of ``low``. Buffers are given by index; ``bytes`` may be
    negative: then ``low`` may even start so much above ``high``.
    """

    low: int
    high: int
    bytes: int


@dataclass(frozen=True)
class Solution:
    """Offsets in bytes, in the order of ``Problem.buffers``, and the highest byte used."""

    offsets: tuple[int, ...]
    height: int


@dataclass(frozen=True)
class Problem:
    """Buffers to place, and the bytes that they may use (None: as few as possible).

    Attributes:
        buffers: rectangles.
        capacity: bytes.
        gaps: pairs that may share bytes; all others may not while both are live.
    """

    buffers: tuple[Buffer, ...]
    capacity: int | None = None
    gaps: tuple[Gap, ...] = ()

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for buffer in self.buffers:
            if buffer.id in seen:
                raise ValueError(f"buffer {buffer.id} is listed twice")
            seen.add(buffer.id)

    def separation(self, low: int, high: int) -> int:
        """Bytes from the start of ``low`` to that of ``high``, at least, when ``low`` is below."""
        given = [gap.bytes for gap in self.gaps if (gap.low, gap.high) == (low, high)]
        return min([self.buffers[low].size, *given])

    def solve_with(self, offsets: Sequence[int]) -> Solution:
        """The solution that has these offsets; nothing is checked but their number."""
        ends = [
            offset + buffer.size
            for offset, buffer in zip(offsets, self.buffers, strict=True)
            if buffer.size
        ]
        return Solution(tuple(int(offset) for offset in offsets), int(max(ends, default=0)))


def write_csv(problem: Problem, solution: Solution | None = None) -> str:
    """CSV text with a header line and ``\\n`` line ends; alignment and capacity are not in it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS if solution is None else (*COLUMNS, "offset"))
    for index, buffer in enumerate(problem.buffers):
        row: list[str | int] = [buffer.id, buffer.lower, buffer.upper, buffer.size]
        if solution is not None:
            row.append(solution.offsets[index])
        writer.writerow(row)
    return text.getvalue()


def read_csv(
    text: str, align: int = 1, capacity: int | None = None
) -> tuple[Problem, Solution | None]:
    """Parse CSV text; the solution is None when there is no ``offset`` column.

    Args:
        text: header line, then one buffer per line; columns in any order.
        align: alignment of every buffer, which the format does not carry.
        capacity: the problem's capacity, likewise.

    Raises:
        UsageError: a column is missing or unknown, or a row is malformed (with its line number).
    """
    rows = csv.reader(io.StringIO(text))
    header = [name.strip() for name in next(rows, [])]
    if sorted(header) not in (sorted(COLUMNS), sorted((*COLUMNS, "offset"))):
        raise UsageError(
            f"buffer CSV has the header {','.join(header)!r}",
            "Use the columns id,lower,upper,size and, for a solution, offset.",
        )
    buffers: list[Buffer] = []
    offsets: list[int] = []
    for row in rows:
        if not row:
            continue
        try:
            fields = dict(zip(header, row, strict=True))
            lower, upper, size = (int(fields[name]) for name in COLUMNS[1:])
            buffers.append(Buffer(fields["id"], lower, upper, size, align))
            if "offset" in fields:
                offsets.append(int(fields["offset"]))
        except ValueError as error:
            raise UsageError(
                f"buffer CSV, line {rows.line_num}: {error}",
                "Give integers, with lower < upper and size >= 0.",
            ) from error
    try:
        problem = Problem(tuple(buffers), capacity)
    except ValueError as error:
        raise UsageError(f"buffer CSV: {error}", "Give each buffer its own id.") from error
    return problem, problem.solve_with(offsets) if "offset" in header else None
