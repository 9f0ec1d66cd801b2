"""One trial: what was tried, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from footprint_compiler.kernels.decisions import Choice


class TrialFailed(Exception):  # noqa: N818 - it costs one trial and reaches no user
    """A trial without a cost.

    Attributes:
        kind: ``build``, ``crash``, ``timeout``, ``wrong`` (other numbers than the default),
            ``scratch`` (more memory than the plan has room for), ``slower`` (by a model that guards
            the count of instructions), ``invalid`` (no such option), ``runner`` (what came back
            cannot be read) or ``lost`` (the device is gone: says nothing about the candidate,
            and is no trial).
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text


@dataclass(frozen=True)
class Costs:
    """Of one call, default and candidate from one interleaved measurement.

    Attributes:
        unit: ``us``, ``instructions`` or ``cycles``.
    """

    default: float
    candidate: float
    unit: str

    @property
    def ratio(self) -> float:
        """Below 1 the candidate is faster."""
        return self.candidate / self.default if self.default else 1.0


@dataclass(frozen=True)
class Trial:
    """A journal entry.

    Attributes:
        task: workload key.
        decisions: label -> answer, as proposed.
        kernel: structural hash of the emitted function; empty when it was not built.
        costs: None when the trial failed.
        failure: kind and text of the failure; empty otherwise.
    """

    task: str
    decisions: Mapping[str, Choice] = field(hash=False)
    kernel: str = ""
    costs: Costs | None = None
    failure: str = ""
