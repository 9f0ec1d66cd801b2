"""A problem in the form that the exact search works on: small integers, sections instead of steps.

- Steps are cut into *sections*: one begins wherever some buffer begins. Two buffers are live at
  once exactly when they share a section.
- Every offset is a multiple of g, the greatest common divisor of the alignments, so a size rounded
  up to g takes nothing from anyone. Then everything is divided by the largest common unit.
- The topmost byte counts with the real size: ``limits`` gives the largest offset of each buffer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np

from footprint_compiler.memory.problem import Problem


@dataclass(frozen=True)
class Instance:
    """The buffers of a problem that have bytes, in the problem's order.

    Attributes:
        buffers: index of each in the problem.
        first, end: half-open range of sections.
        length: of the live range in steps.
        size, align: in units.
        size_bytes: the real size.
        sections: how many there are.
        totals: per section, sum of ``size`` of its buffers.
        unit_bytes, step_bytes: bytes per unit; g.
    """

    buffers: tuple[int, ...]
    first: tuple[int, ...]
    end: tuple[int, ...]
    length: tuple[int, ...]
    size: tuple[int, ...]
    align: tuple[int, ...]
    size_bytes: tuple[int, ...]
    sections: int
    totals: tuple[int, ...]
    unit_bytes: int
    step_bytes: int

    def capacity_units(self, capacity_bytes: int) -> int:
        """Units that stacked buffers can fill when the topmost may waste up to a step."""
        return (capacity_bytes + self.step_bytes - 1) // self.unit_bytes

    def limits(self, capacity_bytes: int) -> list[int]:
        """Largest offset in units of each buffer; negative when it does not fit at all."""
        return [(capacity_bytes - size) // self.unit_bytes for size in self.size_bytes]

    def next_height(self, height_bytes: int) -> int:
        """The smallest height, from this one up, at which some buffer can end."""
        unit = self.unit_bytes
        return min(
            height_bytes + (residue - height_bytes) % unit
            for residue in {size % unit for size in self.size_bytes}
        )

    def offsets_bytes(self, offsets: Sequence[int], count: int) -> list[int]:
        """Offsets of all ``count`` buffers of the problem; 0 for those without bytes."""
        found = [0] * count
        for index, offset in zip(self.buffers, offsets, strict=True):
            found[index] = offset * self.unit_bytes
        return found


def as_instance(problem: Problem) -> Instance:
    """The instance of a problem; it may be empty."""
    indices = [index for index, buffer in enumerate(problem.buffers) if buffer.size]
    filled = [problem.buffers[index] for index in indices]
    step = gcd(*(buffer.align for buffer in filled)) or 1
    sizes = [buffer.size + -buffer.size % step for buffer in filled]
    unit = gcd(*sizes) or 1
    if any(unit % buffer.align for buffer in filled):
        unit = gcd(unit, *(buffer.align for buffer in filled))
    cuts = np.unique(np.array([buffer.lower for buffer in filled], np.int64))
    first = np.searchsorted(cuts, [buffer.lower for buffer in filled]).tolist()
    end = np.searchsorted(cuts, [buffer.upper for buffer in filled]).tolist()
    totals = [0] * len(cuts)
    for start, stop, size in zip(first, end, sizes, strict=True):
        for section in range(start, stop):
            totals[section] += size // unit
    return Instance(
        buffers=tuple(indices),
        first=tuple(first),
        end=tuple(end),
        length=tuple(buffer.upper - buffer.lower for buffer in filled),
        size=tuple(size // unit for size in sizes),
        align=tuple(max(1, buffer.align // unit) for buffer in filled),
        size_bytes=tuple(buffer.size for buffer in filled),
        sections=len(cuts),
        totals=tuple(totals),
        unit_bytes=unit,
        step_bytes=step,
    )
