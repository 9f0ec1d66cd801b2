"""The lower bound where pairs may share bytes, against every placement of small problems."""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from footprint_compiler.errors import PlanError
from footprint_compiler.memory import Buffer, Problem, lower_bound, verify_solution
from footprint_compiler.memory.problem import Gap


def optimum(problem: Problem) -> int:
    """Every placement that could be the best; offsets beyond all sizes side by side are not."""
    top = sum(buffer.size + buffer.align for buffer in problem.buffers)
    places = [range(0, top, buffer.align) for buffer in problem.buffers]
    best = top
    for offsets in product(*places):
        solution = problem.solve_with(offsets)
        if solution.height >= best:
            continue
        try:
            verify_solution(problem, solution)
        except PlanError:
            continue
        best = solution.height
    return best


@st.composite
def with_gaps(draw: st.DrawFn) -> Problem:
    """Three buffers at one step; some pairs may share bytes, as rows computed upwards do."""
    align = draw(st.sampled_from([1, 2, 4]))
    sizes = draw(st.lists(st.integers(1, 9), min_size=3, max_size=3))
    buffers = tuple(Buffer(str(i), 0, 1, size, align) for i, size in enumerate(sizes))
    gaps: list[Gap] = []
    for low, high in draw(st.sets(st.sampled_from([(0, 1), (0, 2), (1, 2)]))):
        gaps.append(Gap(low, high, draw(st.integers(-sizes[high], sizes[low]))))
        gaps.append(Gap(high, low, draw(st.integers(max(1, -gaps[-1].bytes), 12))))
    return Problem(buffers, gaps=tuple(gaps))


@settings(max_examples=60, deadline=None)
@given(with_gaps())
def test_no_placement_beats_the_bound(problem: Problem) -> None:
    assert lower_bound(problem).bytes <= optimum(problem)


def test_a_pair_that_starts_at_whole_units_counts_what_both_take() -> None:
    """28 bytes may start 312 after 336 bytes do; at multiples of 64 that is 320."""
    buffers = (Buffer("x", 0, 1, 28, 64), Buffer("y", 0, 1, 336, 64))
    problem = Problem(buffers, gaps=(Gap(1, 0, 312), Gap(0, 1, 4)))
    assert lower_bound(problem).bytes == 348
    verify_solution(problem, problem.solve_with((320, 0)))
