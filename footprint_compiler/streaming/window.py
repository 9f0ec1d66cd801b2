"""Which rows of an input one row of the output needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Window:
    """Output row ``r`` reads the input rows [r * stride - before, r * stride - before + span).

    Rows outside the image are skipped by the kernel, never read.

    Attributes:
        height: rows of the input.
        stride: input rows from one window to the next.
        before: padding above the image.
        span: rows from the first to the last that are read, inclusive: (KH - 1) * dilation + 1.
    """

    height: int
    stride: int = 1
    before: int = 0
    span: int = 1

    def rows(self, row: int) -> tuple[int, int]:
        """[begin, end) of the rows inside the image that output row ``row`` reads."""
        first = row * self.stride - self.before
        begin = min(max(first, 0), self.height)
        return begin, max(begin, min(first + self.span, self.height))


@dataclass(frozen=True)
class RowAccess:
    """How a kernel goes through its tensors when it computes one output row at a time.

    Attributes:
        height: rows of the output, of shape (1, H, W, C).
        windows: input index -> rows that an output row reads; other inputs are read as a whole.
        exact: inputs, among those with a window of one row, whose row h may lie exactly where the
            output's row h is written: element i is read before element i is written.
        work: estimated instructions of all rows, relative to the kernel at once.
        scratch: (bytes, alignment) of the row kernel's temporaries; None where they are those of
            the kernel at once.
    """

    height: int
    windows: Mapping[int, Window] = field(default_factory=dict)
    exact: tuple[int, ...] = ()
    work: float = 1.0
    scratch: tuple[tuple[int, int], ...] | None = None
