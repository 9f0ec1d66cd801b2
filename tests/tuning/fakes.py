"""Stand-ins for search, compiler and runner: a session without compiling or measuring anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from footprint_compiler.kernels.decisions import Choice, Question
from footprint_compiler.tuning.candidate import Built
from footprint_compiler.tuning.protocol import Effort
from footprint_compiler.tuning.search import Proposal
from footprint_compiler.tuning.tasks import Task
from footprint_compiler.tuning.trial import Costs, TrialFailed

OPTIONS = tuple(range(40))


def make_task(key: str = "a", uses: int = 1, room_bytes: int = 0) -> Task:
    """A task with one choice of 40 numbers, 0 by default."""
    nothing: Any = None
    questions = {"n": Question("n", 0, OPTIONS)}
    return Task(key, uses, nothing, nothing, questions, "k0", "conv2d", key, 1, room_bytes)


@dataclass
class FakeSearch:
    """Proposes the options in order and remembers what it is told."""

    task: Task
    batch: int = 8
    told: list[float | None] = field(default_factory=list)
    remembered: list[float] = field(default_factory=list)
    _left: Iterator[int] = field(default_factory=lambda: iter(OPTIONS[1:]))

    def propose(self) -> list[Proposal]:
        taken = [n for _, n in zip(range(self.batch), self._left, strict=False)]
        return [Proposal({"n": n}, None) for n in taken]

    def tell(self, proposals: Sequence[Proposal], costs: Sequence[float | None]) -> None:
        assert len(proposals) == len(costs)
        self.told += costs

    def remember(self, decisions: Sequence[Mapping[str, Choice]], costs: Sequence[float]) -> None:
        assert len(decisions) == len(costs)
        self.remembered += costs


class FakeCompiler:
    """A kernel is named after its decision; ``scratch`` says how much it needs."""

    def __init__(self, scratch: Callable[[int], int] = lambda n: 0) -> None:
        self.scratch = scratch
        self.built: list[int] = []

    def build(self, task: Task, decisions: Mapping[str, Choice], symbol: str) -> Built:
        number = int(str(decisions.get("n", 0)))
        self.built.append(number)
        return Built(b"", symbol, (), self.scratch(number), f"k{number}", {"n": number})

    def close(self) -> None:
        self.built.append(-1)


class FakeRunner:
    """Costs by a function of the decision; None is a crash."""

    name, unit, exact, host = "fake", "us", True, "none"

    def __init__(self, cost: Callable[[int], float | None]) -> None:
        self.cost = cost
        self.measured: list[int] = []

    def measure(self, default: Built, candidate: Built, effort: Effort) -> Costs:
        number = int(str(candidate.decided["n"]))
        self.measured.append(number)
        found = self.cost(number)
        if found is None:
            raise TrialFailed("crash", "on purpose")
        base = self.cost(0)
        assert base is not None
        return Costs(base, found, "us")

    def close(self) -> None:
        self.measured.append(-1)


class Clock:
    """Advances by ``step`` at every look."""

    def __init__(self, step: float = 0.0) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now
