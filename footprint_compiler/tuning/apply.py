"""Use tuning records in a build: exact matches only, each one checked against what it emits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from footprint_compiler.kernels.decisions import Answers, UnknownChoiceError, deciding, wrapping
from footprint_compiler.kernels.kernel import Kernel
from footprint_compiler.progress import Reporter
from footprint_compiler.targets import Target
from footprint_compiler.tuning.in_manifest import NONE, manifest_entry
from footprint_compiler.tuning.record import Record, current_versions
from footprint_compiler.tuning.records import Key, read_records, shipped_folder
from footprint_compiler.tuning.workload import (
    MachineKey,
    describe,
    kernel_hash,
    machine_key,
    workload_key,
)

SHIPPED = "shipped"
DEFAULT = "default"


@dataclass(frozen=True)
class Applied:
    """What became of one kernel.

    Attributes:
        workload, description: which.
        record: the record in force, or None for the default schedule.
        reason: why a record for it was left out; empty when there is none.
    """

    workload: str
    description: str
    record: Record | None
    reason: str = ""

    def __str__(self) -> str:
        if self.record is None:
            return f"{self.description}: default schedule{f' ({self.reason})' * bool(self.reason)}"
        return f"{self.description}: record, {self.record.speed_up:.2f} x ({self.record.runner})"


class RecordsInForce:
    """Makes kernels with the records of one machine; see ``records_in_force``."""

    def __init__(self, records: Mapping[Key, Record], machine: MachineKey) -> None:
        self._records = records
        self._machine = machine
        self._versions = current_versions()
        self.applied: list[Applied] = []
        self._made: list[tuple[Kernel, Applied]] = []

    def make(
        self,
        emit: Callable[..., Kernel],
        func: Any,
        machine: Any,
        constants: frozenset[int],
    ) -> Kernel:
        """The kernel of ``func``, by its record where that still is what was measured."""
        answers = Answers()
        with deciding(answers):
            default = emit(func, machine, constants)
        choices = any(len(question.options) > 1 for question in answers.asked.values())
        if not choices:
            return default
        key = workload_key(func, constants, machine)
        record = self._records.get((key, self._machine, self._versions))
        kernel, reason = default, ""
        if record is not None:
            found = tuned_kernel(emit, (func, machine, constants), record, default)
            kernel, reason = (default, found) if isinstance(found, str) else (found, "")
        used = record if record is not None and not reason else None
        applied = Applied(key, describe(func, default.family), used, reason)
        self.applied.append(applied)
        self._made.append((kernel, applied))
        return kernel

    def schedule_of(self, kernel: Kernel) -> str:
        """For a manifest: ``record`` or ``default``."""
        return DEFAULT if self.record_of(kernel) is None else "record"

    def record_of(self, kernel: Kernel) -> Record | None:
        """The record that made a kernel."""
        for made, applied in self._made:
            if made is kernel and applied.record is not None:
                return applied.record
        return None

    def for_manifest(self) -> tuple[dict[str, Any], ...]:
        """Every record in force, once."""
        used = {one.workload: one.record for one in self.applied if one.record is not None}
        return tuple(manifest_entry(used[key]) for key in sorted(used))


def tuned_kernel(
    emit: Callable[..., Kernel],
    arguments: tuple[Any, Any, frozenset[int]],
    record: Record,
    default: Kernel,
) -> Kernel | str:
    """The record's kernel, or why it is out of date."""
    if kernel_hash(default) != record.default_kernel:
        return "its record is older than the default schedule"
    answers = Answers(dict(record.decisions))
    try:
        with deciding(answers):
            kernel = emit(*arguments)
    except UnknownChoiceError:
        return "its record names a choice that no longer exists"
    if kernel_hash(kernel) != record.kernel:
        return "its record is older than the generator"
    return kernel


@contextmanager
def records_in_force(source: str, target: Target, reporter: Reporter) -> Iterator[RecordsInForce]:
    """Kernels that are made in this block follow their records.

    Args:
        source: ``shipped``, ``none``, or a folder of records.
        target: only its own records count.
        reporter: is told what applied.

    Raises:
        TuningRecordError: the folder is missing, or holds something else.
    """
    machine = machine_key(target)
    in_force = RecordsInForce(load_records(source, target.name), machine)
    with wrapping(in_force.make):
        yield in_force
    report(in_force.applied, source, reporter)


def load_records(source: str, target: str) -> dict[Key, Record]:
    """The records of ``source`` for a target; none when it is ``none``."""
    if source == NONE:
        return {}
    folder = shipped_folder() if source == SHIPPED else Path(source)
    return {} if folder is None else read_records(folder, target)


def report(applied: list[Applied], source: str, reporter: Reporter) -> None:
    """One line in sum, and one per kernel for those who want details."""
    by_record = sum(one.record is not None for one in applied)
    if by_record or source not in (SHIPPED, NONE):
        reporter.log(
            f"tuning: {by_record} of {len(applied)} kernels by record, "
            f"{len(applied) - by_record} by default schedule"
        )
    outdated = sum(bool(one.reason) for one in applied)
    if outdated:
        reporter.log(
            f"tuning: {outdated} of the records are out of date and not used; "
            "`fpc tune` replaces them, `fpc tune prune --model` removes them"
        )
    for one in applied:
        reporter.log(f"tuning: {one}", "debug")
