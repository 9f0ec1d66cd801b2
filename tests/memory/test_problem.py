from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footprint_compiler.errors import UsageError
from footprint_compiler.memory import Buffer, Problem, Solution, read_csv, write_csv

from .problems import problems


def test_csv_text_of_a_problem_and_of_its_solution() -> None:
    problem = Problem((Buffer("0", 0, 2, 10), Buffer("a,b", 1, 3, 4)))
    assert write_csv(problem) == 'id,lower,upper,size\n0,0,2,10\n"a,b",1,3,4\n'
    solved = write_csv(problem, Solution((4, 0), 14))
    assert solved == 'id,lower,upper,size,offset\n0,0,2,10,4\n"a,b",1,3,4,0\n'


@given(problems(max_align=1), st.booleans())
def test_csv_round_trip(problem: Problem, solved: bool) -> None:
    solution = problem.solve_with(range(len(problem.buffers))) if solved else None
    assert read_csv(write_csv(problem, solution)) == (problem, solution)


def test_columns_may_come_in_any_order_and_alignment_is_given() -> None:
    problem, solution = read_csv("size,upper,lower,id\n7,2,1,x\n", align=16, capacity=99)
    assert problem == Problem((Buffer("x", 1, 2, 7, 16),), 99)
    assert solution is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has the header ''"),
        ("id,lower,upper\n", "has the header 'id,lower,upper'"),
        ("id,lower,upper,size,gap\n", "has the header"),
        ("id,lower,upper,size\n0,0,1,2\n1,0,1\n", "line 3"),
        ("id,lower,upper,size\n0,0,1,x\n", "line 2"),
        ("id,lower,upper,size\n0,1,1,4\n", "line 2.*empty live range"),
        ("id,lower,upper,size\n0,0,1,-4\n", "line 2.*negative size"),
        ("id,lower,upper,size\n0,0,1,4\n0,0,1,4\n", "listed twice"),
        ("id,lower,upper,size,offset\n0,0,1,4,\n", "line 2"),
    ],
)
def test_malformed_csv_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_csv(text)


def test_height_ignores_empty_buffers() -> None:
    problem = Problem((Buffer("0", 0, 2, 10), Buffer("1", 0, 2, 0)))
    assert problem.solve_with((6, 100)).height == 16
    assert Problem(()).solve_with(()).height == 0


def test_alignment_must_be_positive() -> None:
    with pytest.raises(ValueError, match="alignment 0"):
        Buffer("0", 0, 1, 4, 0)
