"""One tuning record: the answers to the free choices of one kernel, and what they are valid for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

from footprint_compiler.kernels.decisions import SCHEDULE_VERSION, Choice
from footprint_compiler.tuning.workload import MachineKey


@dataclass(frozen=True)
class Versions:
    """What compiled the kernels that were measured."""

    tvm: str
    schedule: int


def current_versions() -> Versions:
    """Of this installation."""
    return Versions(version("apache-tvm"), SCHEDULE_VERSION)


@dataclass(frozen=True)
class Record:
    """The best known answers for one workload on one machine.

    Attributes:
        workload: see ``workload_key``.
        machine: exact match only.
        versions: exact match only.
        default_kernel, kernel: structural hashes of the emitted functions, before and after. When a
            generator changes, either differs and the record is out of date.
        decisions: label -> answer, for every question of the kernel.
        cost, default_cost: of one call; both from the same interleaved measurement.
        unit: ``us`` (time), ``instructions`` or ``cycles`` (of the static model).
        runner: what measured.
        description: for people.
        host: CPU that the measurement ran on; empty where only instructions count.
    """

    workload: str
    machine: MachineKey
    versions: Versions
    default_kernel: str
    kernel: str
    decisions: Mapping[str, Choice] = field(hash=False)
    cost: float
    default_cost: float
    unit: str
    runner: str
    description: str = ""
    host: str = ""

    @property
    def key(self) -> tuple[str, MachineKey, Versions]:
        """What there is one record for."""
        return self.workload, self.machine, self.versions

    @property
    def speed_up(self) -> float:
        """Above 1 the record is faster than the default."""
        return self.default_cost / self.cost if self.cost else 1.0

    def to_line(self) -> str:
        """One line of JSON; the same record gives the same line."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_line(cls, line: str) -> Record:
        """Reads ``to_line``.

        Raises:
            ValueError: it is not a record.
        """
        try:
            fields: dict[str, Any] = json.loads(line)
            fields["machine"] = MachineKey(**fields["machine"])
            fields["versions"] = Versions(**fields["versions"])
            fields["decisions"] = decisions_from_json(fields["decisions"])
            return cls(**fields)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a tuning record: {error}") from error


def decisions_from_json(given: Mapping[str, Any]) -> dict[str, Choice]:
    """JSON has lists where choices are tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
