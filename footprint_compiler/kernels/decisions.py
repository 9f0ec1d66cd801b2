"""The one place where a kernel generator asks about a free choice.

A choice is free when every option computes the same result and only speed differs: the size of a
register tile, the order of two loops, direct or transformed convolution. A generator names the
choice, its own default and the options that are valid here:

    pixels, vectors = choose("tile", default=(6, 2), options=[(1, 1), (2, 1), ...])

Nobody in force means the default. A tuning record or a search is put in force with ``deciding``
around the generator; an answer outside the options is an error, never a kernel. A question is its
name and its options: asked again in the same kernel it has the same answer, and a second question
of one name is told apart by a number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar

Choice = int | str | tuple[int, ...]
T = TypeVar("T", bound=Choice)

SCHEDULE_VERSION = 1
"""Raise it when lowering or code generation changes what the same TIR compiles to."""


@dataclass(frozen=True)
class Question:
    """A free choice of one kernel: its name, the generator's own answer, and all valid ones."""

    name: str
    default: Choice
    options: tuple[Choice, ...]


class UnknownChoiceError(ValueError):
    """An answer is not among the options that the generator offers now."""


class Decisions(Protocol):
    """Answers questions."""

    def answer(self, question: Question) -> Choice:
        """One of ``question.options``."""


@dataclass
class Answers:
    """Answers by label, the default for every other question; keeps what was asked.

    Attributes:
        given: label -> answer.
        asked: label -> question, in the order in which they were first asked; the label is the
            name, or ``name.2`` and so on for further questions of that name.
    """

    given: Mapping[str, Choice] = field(default_factory=dict)
    asked: dict[str, Question] = field(default_factory=dict)

    def answer(self, question: Question) -> Choice:
        """The given answer, or the default.

        Raises:
            UnknownChoiceError: it is not among the options.
        """
        label = self._label(question)
        chosen = self.given.get(label, question.default)
        if chosen not in question.options:
            raise UnknownChoiceError(f"{label}: {chosen!r} is not an option")
        return chosen

    def _label(self, question: Question) -> str:
        label, count = question.name, 1
        while label in self.asked:
            if self.asked[label].options == question.options:
                return label
            count += 1
            label = f"{question.name}.{count}"
        self.asked[label] = question
        return label

    @property
    def decided(self) -> dict[str, Choice]:
        """The answer to every question that was asked, by label."""
        return {label: self.given.get(label, q.default) for label, q in self.asked.items()}

    @property
    def unused(self) -> tuple[str, ...]:
        """Given labels that no question asked for."""
        return tuple(label for label in self.given if label not in self.asked)


_in_force: ContextVar[Decisions | None] = ContextVar("decisions", default=None)


@contextmanager
def deciding(decisions: Decisions | None) -> Iterator[None]:
    """Let ``decisions`` answer what generators ask in this block; None: the defaults."""
    token = _in_force.set(decisions)
    try:
        yield
    finally:
        _in_force.reset(token)


P = ParamSpec("P")
R = TypeVar("R")


def bound(function: Callable[P, R]) -> Callable[P, R]:
    """``function``, to be called later, with the answers that are in force now.

    A kernel that is emitted in a second form must be packed and computed under the same ones.
    """
    decisions = _in_force.get()

    @wraps(function)
    def later(*args: P.args, **kwargs: P.kwargs) -> R:
        with deciding(decisions):
            return function(*args, **kwargs)

    return later


def choose(name: str, default: T, options: Sequence[T]) -> T:
    """The answer to a free choice.

    Args:
        name: of the question, unique within a kernel.
        default: what the generator would do by itself; one of ``options``.
        options: every valid answer, without repetition, in a fixed order.
    """
    decisions = _in_force.get()
    if decisions is None:
        return default
    chosen = decisions.answer(Question(name, default, tuple(options)))
    return next(option for option in options if option == chosen)


Wrap = Callable[..., Any]
"""(generator, *its arguments) -> kernel: calls it, any number of times, under its own decisions."""

_wrapping: ContextVar[Wrap | None] = ContextVar("wrapping", default=None)


@contextmanager
def wrapping(wrap: Wrap) -> Iterator[None]:
    """Let ``wrap`` make every kernel that is asked for in this block."""
    token = _wrapping.set(wrap)
    try:
        yield
    finally:
        _wrapping.reset(token)


def tunable(emit: Callable[P, R]) -> Callable[P, R]:
    """Decorates the function that makes kernels, so that ``wrapping`` can put records in force."""

    @wraps(emit)
    def emit_or_wrap(*args: P.args, **kwargs: P.kwargs) -> R:
        wrap = _wrapping.get()
        if wrap is None:
            return emit(*args, **kwargs)
        made: R = wrap(emit, *args, **kwargs)
        return made

    return emit_or_wrap
