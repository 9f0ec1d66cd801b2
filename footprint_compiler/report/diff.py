"""What changed between two builds: totals, and tensors by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from footprint_compiler.memory.plan import Placement
from footprint_compiler.report.blocks import MemoryReport


@dataclass(frozen=True)
class TotalChange:
    """One figure of both builds, in bytes unless its name says otherwise."""

    name: str
    before: int
    after: int


@dataclass(frozen=True)
class TensorChange:
    """A tensor or scratch block whose bytes, place or steps differ; None where there is none."""

    name: str
    before: Placement | None
    after: Placement | None


@dataclass(frozen=True)
class Difference:
    """All of it; unchanged figures are in ``totals`` too, unchanged tensors are not listed."""

    totals: tuple[TotalChange, ...]
    tensors: tuple[TensorChange, ...]

    def as_json(self) -> dict[str, Any]:
        """For ``fpc plan --diff --json``."""

        def place(part: Placement | None) -> dict[str, Any] | None:
            return None if part is None else dict(vars(part))

        return {
            "totals": [dict(vars(total)) for total in self.totals],
            "tensors": [
                {"name": one.name, "before": place(one.before), "after": place(one.after)}
                for one in self.tensors
            ],
        }


def compare(before: MemoryReport, after: MemoryReport) -> Difference:
    """The difference of two builds, of one model or of two."""
    old, new = _totals(before), _totals(after)
    totals = tuple(
        TotalChange(name, old.get(name, 0), new.get(name, 0))
        for name in dict.fromkeys((*old, *new))
        if old.get(name, 0) or new.get(name, 0)
    )
    first, second = before.plan.placements, after.plan.placements
    tensors = tuple(
        TensorChange(name, first.get(name), second.get(name))
        for name in dict.fromkeys((*first, *second))
        if first.get(name) != second.get(name)
    )
    return Difference(totals, tensors)


def _totals(report: MemoryReport) -> dict[str, int]:
    footprint: Mapping[str, Any] = report.manifest["footprint"]
    found: dict[str, int] = {}
    for kind in ("ram", "flash"):
        for part, value in footprint[kind].items():
            found[f"{kind} {part.removesuffix('_bytes')}"] = int(value)
    found["peak"] = report.plan.peak_bytes
    found["lower bound"] = report.plan.lower_bound_bytes
    found["no reuse"] = report.plan.naive_bytes
    found["MACs"] = int(report.manifest["macs"])
    found["kernel calls"] = len(report.layers)
    return found
