"""Which runs of calls become segments: the least peak within a bound on the slowdown.

For a peak of T bytes, the cheapest cut of the program into steps of at most T bytes each is a
shortest path over positions; the peaks that can occur are those of the candidates. So the least T
whose cheapest cut is within the bound is found by bisection. Offsets may need more than the live
bytes, and a cut whose peak is a little higher may be placed better: the cuts of a few peaks are
planned, and the lowest arena wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from footprint_compiler.memory.build_plan import plan_memory
from footprint_compiler.options import BuildOptions
from footprint_compiler.program import Program
from footprint_compiler.streaming.candidates import Candidate, Candidates

TRIALS = 6
"""Cuts that are planned in full."""


@dataclass(frozen=True)
class Selection:
    """A program whose steps are calls and segments.

    Attributes:
        program: with segments.
        slowdown: estimated, as a fraction of the instructions.
    """

    program: Program
    slowdown: float


def slowdown_of(options: BuildOptions) -> float | None:
    """The bound that the options set; None where no kernel may run row by row."""
    if options.optimize_for == "speed":
        return None
    return float("inf") if options.optimize_for == "ram" else options.max_slowdown


def select_segments(
    program: Program, align_bytes: int, max_slowdown: float, lanes: int = 1
) -> Selection:
    """The program with the segments that make its arena smallest.

    Args:
        program: in its final order.
        align_bytes: of tensors.
        max_slowdown: as a fraction of the estimated instructions.
        lanes: elements that one instruction computes.
    """
    candidates = Candidates(program, align_bytes, lanes)
    options = _all_candidates(candidates)
    budget = max_slowdown * candidates.plain_cost
    peaks = sorted({option.bytes for group in options for option in group})
    low, high = 0, len(peaks) - 1
    while low < high:
        middle = (low + high) // 2
        cut = _cheapest(options, peaks[middle])
        if cut is not None and _overhead(cut) <= budget:
            high = middle
        else:
            low = middle + 1
    best = Selection(program, 0.0)
    best_bytes = plan_memory(program, align_bytes, solve_nodes=0).arena_bytes
    tried: set[tuple[tuple[int, int], ...]] = set()
    for peak in peaks[low:]:
        if len(tried) == TRIALS or peak >= best_bytes:
            break
        cut = _cheapest(options, peak)
        if cut is None or _overhead(cut) > budget:
            continue
        key = tuple((one.begin, one.end) for one in cut if one.call is not None)
        if key in tried:
            continue
        tried.add(key)
        trial = with_segments(program, cut)
        size = plan_memory(trial, align_bytes, solve_nodes=0).arena_bytes
        if size < best_bytes:
            best, best_bytes = Selection(trial, _overhead(cut) / candidates.plain_cost), size
    return best


def _all_candidates(candidates: Candidates) -> list[list[Candidate]]:
    """By begin; segments only where they hold a call that needs more than one that must be plain.

    No peak is below that of a call without rows, so calls that need no more gain nothing.
    """
    calls = candidates.program.calls
    plain = [candidates.plain(step) for step in range(len(calls))]
    floor = max(
        (one.bytes for one, call in zip(plain, calls, strict=True) if not call.rows), default=0
    )
    found = []
    for begin, alone in enumerate(plain):
        here = [alone]
        for end in range(begin + 1, candidates.reach(begin) + 1):
            if max(one.bytes for one in plain[begin:end]) <= floor:
                continue
            option = candidates.segment(begin, end)
            if option is not None:
                here.append(option)
        found.append(here)
    return found


def _cheapest(options: Sequence[Sequence[Candidate]], peak: int) -> list[Candidate] | None:
    """The cut of least overhead whose steps all need at most ``peak`` bytes; then of fewest."""
    count = len(options)
    best: list[tuple[float, int, Candidate | None]] = [(float("inf"), 0, None)] * count
    best.append((0.0, 0, None))
    for begin in range(count - 1, -1, -1):
        for option in options[begin]:
            rest = best[option.end]
            cost = option.overhead + rest[0], rest[1] + 1
            if option.bytes <= peak and cost < best[begin][:2]:
                best[begin] = (*cost, option)
    cut: list[Candidate] = []
    at = 0
    while at < count:
        chosen = best[at][2]
        if chosen is None:
            return None
        cut.append(chosen)
        at = chosen.end
    return cut


def _overhead(cut: Sequence[Candidate]) -> float:
    return sum(one.overhead for one in cut)


def with_segments(program: Program, cut: Sequence[Candidate]) -> Program:
    """The program whose steps are those of the cut."""
    calls = []
    for one in cut:
        if one.call is None:
            calls.append(program.calls[one.begin])
        else:
            name = f"{program.name}_s{len(calls)}"
            calls.append(replace(one.call, kernel=name))
    gone = {ring.tensor.name for call in calls if call.segment for ring in call.segment.rings}
    tensors = {name: spec for name, spec in program.tensors.items() if name not in gone}
    return replace(program, calls=tuple(calls), tensors=tensors)
