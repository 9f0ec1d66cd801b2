"""Free choices: who answers them, and what is refused."""

from __future__ import annotations

import pytest

from footprint_compiler.kernels.decisions import (
    Answers,
    UnknownChoiceError,
    bound,
    choose,
    deciding,
    tunable,
    wrapping,
)


def ask() -> tuple[int, str]:
    return choose("size", 2, (1, 2, 4)), choose("order", "rows", ("rows", "tiles"))


def test_nobody_in_force_means_the_default():
    assert ask() == (2, "rows")


def test_answers_by_name_and_the_default_for_the_rest():
    answers = Answers({"size": 4})
    with deciding(answers):
        assert ask() == (4, "rows")
    assert ask() == (2, "rows")
    assert answers.decided == {"size": 4, "order": "rows"}
    assert answers.asked["size"].options == (1, 2, 4)
    assert answers.unused == ()


def test_an_answer_outside_the_options_is_an_error():
    with deciding(Answers({"size": 3})), pytest.raises(UnknownChoiceError, match="size: 3"):
        ask()


def test_what_was_never_asked_is_told():
    answers = Answers({"sise": 4})
    with deciding(answers):
        ask()
    assert answers.unused == ("sise",)


def test_two_questions_of_one_name_are_told_apart():
    answers = Answers({"size": 4, "size.2": 9})
    with deciding(answers):
        assert [choose("size", 2, (1, 2, 4)) for _ in range(3)] == [4, 4, 4]
        assert choose("size", 7, (7, 9)) == 9
        assert choose("size", 2, (1, 2, 4)) == 4
    assert answers.decided == {"size": 4, "size.2": 9}


def test_a_bound_function_keeps_its_answers():
    with deciding(Answers({"size": 4})):
        later = bound(ask)
    assert later() == (4, "rows")
    with deciding(Answers({"size": 1})):
        assert later() == (4, "rows")
        assert ask() == (1, "rows")


def test_records_are_put_around_the_generator():
    @tunable
    def emit(width: int) -> int:
        return width * choose("size", 2, (1, 2, 4))

    def wrap(generator, width):
        with deciding(Answers({"size": 4})):
            return generator(width)

    assert emit(10) == 20
    with wrapping(wrap):
        assert emit(10) == 40
    assert emit(10) == 20
