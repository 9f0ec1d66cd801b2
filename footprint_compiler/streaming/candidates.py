"""Every run of calls that could be one step, with the bytes that the arena holds while it runs."""

from __future__ import annotations

from dataclasses import dataclass

from footprint_compiler.memory.live_ranges import owner_ranges
from footprint_compiler.memory.storages import locate_tensors
from footprint_compiler.program import KernelCall, Program
from footprint_compiler.streaming.costs import call_cost, row_cost
from footprint_compiler.streaming.segments import make_segment, shared_bytes

LONGEST = 16
"""Most calls of a segment."""


@dataclass(frozen=True)
class Candidate:
    """Calls [begin, end) as one step.

    Attributes:
        call: the segment; None for one call that runs at once.
        bytes: live while it runs, in an arena without waste.
        overhead: instructions more than the calls at once.
    """

    begin: int
    end: int
    call: KernelCall | None
    bytes: int
    overhead: float


class Candidates:
    """Plain steps and segments of a program in its order."""

    def __init__(self, program: Program, align_bytes: int, lanes: int = 1) -> None:
        self.program, self.align_bytes, self.lanes = program, align_bytes, lanes
        self.locations = locate_tensors(program)
        self.returned = {self.locations[spec.name].storage for spec in program.outputs}
        given = {self.locations[spec.name].storage for spec in program.inputs}
        ranges = owner_ranges(program, self.locations)
        self.ranges = {
            name: (-1 if name in given else first, end + (name in self.returned))
            for name, (first, end) in ranges.items()
        }
        self.sizes = {
            name: -(-program.tensors[name].size_bytes // align_bytes) * align_bytes
            for name in ranges
        }

    @property
    def plain_cost(self) -> float:
        return sum(call_cost(self.program, call, self.lanes) for call in self.program.calls)

    def plain(self, step: int) -> Candidate:
        """The call ``step`` at once."""
        call = self.program.calls[step]
        apart = self._around(step, step + 1, frozenset())
        scratch = sum(block.size_bytes for block in call.scratch)
        saved = self._in_place(call, step)
        return Candidate(step, step + 1, None, apart + scratch - saved, 0.0)

    def segment(self, begin: int, end: int) -> Candidate | None:
        """The calls [begin, end) row by row, where they can."""
        stages = self.program.calls[begin:end]
        if any(stage.rows is None for stage in stages):
            return None
        names = {stage.outputs[0] for stage in stages}
        inside = {name for name in names if self._is_inside(name, begin, end)}
        dying = frozenset(
            given
            for stage in stages
            for given in stage.inputs
            if given in self.locations and self._dies(given, begin, end)
        )
        call = make_segment("", stages, self.program.tensors, frozenset(names - inside), dying)
        if call is None:
            return None
        apart = self._around(begin, end, frozenset(inside))
        scratch = sum(
            -(-block.size_bytes // self.align_bytes) * self.align_bytes for block in call.scratch
        )
        saved = shared_bytes(call, self.program.tensors)
        overhead = sum(row_cost(self.program, stage, self.lanes) for stage in stages)
        return Candidate(begin, end, call, apart + scratch - saved, overhead)

    def reach(self, begin: int) -> int:
        """End of the longest run of calls from ``begin`` that could be a segment."""
        end = begin
        calls = self.program.calls
        while end < len(calls) and end - begin < LONGEST and calls[end].rows is not None:
            end += 1
        return end

    def _around(self, begin: int, end: int, inside: frozenset[str]) -> int:
        """Bytes of the storages live in any of the steps, but for those ``inside``."""
        return sum(
            self.sizes[name]
            for name, (first, last) in self.ranges.items()
            if first < end and last > begin and name not in inside
        )

    def _is_inside(self, name: str, begin: int, end: int) -> bool:
        """Whether nothing outside the calls needs the tensor, which is all of its storage."""
        if self.locations[name].storage != name:
            return False
        if any(view.base == name for view in self.program.views):
            return False
        first, last = self.ranges[name]
        return begin <= first and last <= end and last - first > 1

    def _dies(self, name: str, begin: int, end: int) -> bool:
        location = self.locations[name]
        if (
            self.program.tensors[location.storage].size_bytes
            != self.program.tensors[name].size_bytes
        ):
            return False
        first, last = self.ranges[location.storage]
        return first < begin and last <= end and location.storage not in self.returned

    def _in_place(self, call: KernelCall, step: int) -> int:
        """Bytes that the best pair of the call saves."""
        saved = 0
        for output, given in call.in_place:
            source, result = call.inputs[given], call.outputs[output]
            if source not in self.locations or not self._dies(source, step, step + 1):
                continue
            given, written = (self.program.tensors[name].size_bytes for name in (source, result))
            if written <= given and self.locations[result].storage == result:
                saved = max(saved, self.sizes[result])
        return saved
