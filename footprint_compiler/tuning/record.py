"""One tuning record: the answers to the free choices of one kernel, and what they are valid for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

from footprint_compiler.kernels.decisions import SCHEDULE_VERSION, Choice
from footprint_compiler.targets.schema import NAME
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
            record = cls(**fields)
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a tuning record: {error}") from error
        wrong = [name for name, fine in _checks(record).items() if not fine]
        if wrong:
            raise ValueError(f"not a tuning record: {', '.join(wrong)} cannot be what it says")
        return record


def _checks(record: Record) -> dict[str, bool]:
    """What a file can hold and a record cannot: field -> whether it is fine."""
    machine, versions = record.machine, record.versions
    texts = ("workload", "default_kernel", "kernel", "unit", "runner", "description", "host")
    found = {name: isinstance(getattr(record, name), str) for name in texts}
    found["target"] = isinstance(machine.target, str) and bool(NAME.fullmatch(machine.target))
    found["cpu"] = isinstance(machine.cpu, str)
    found["features"] = isinstance(machine.features, str)
    found["tvm"] = isinstance(versions.tvm, str)
    found["schedule"] = type(versions.schedule) is int
    found["cost"] = _is_cost(record.cost)
    found["default_cost"] = _is_cost(record.default_cost)
    found["decisions"] = all(map(_is_choice, record.decisions.values()))
    return found


def _is_cost(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value >= 0


def _is_choice(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(type(part) is int for part in value)
    return type(value) in (int, str)


def decisions_from_json(given: Mapping[str, Any]) -> dict[str, Choice]:
    """JSON has lists where choices are tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
