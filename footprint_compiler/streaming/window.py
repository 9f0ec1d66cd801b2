"""Which rows of an input one row of the output needs."""

from __future__ import annotations

from dataclasses import dataclass


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
