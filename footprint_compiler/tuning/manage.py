"""Look after folders of records: list, merge, export, prune."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from footprint_compiler.codegen.staging import staged_file
from footprint_compiler.errors import TuningRecordError
from footprint_compiler.tuning.lock import locked
from footprint_compiler.tuning.record import Record, current_versions
from footprint_compiler.tuning.records import (
    FILE,
    Key,
    add_records,
    keep_best,
    read_file,
    read_records,
    write_records,
)


def as_json(record: Record) -> dict[str, Any]:
    """A record with its speed-up."""
    fields: dict[str, Any] = json.loads(record.to_line())
    return {**fields, "speed_up": round(record.speed_up, 4)}


def summary(records: Sequence[Record]) -> list[str]:
    """A line per machine and versions: how many records, and the geometric mean of their gain."""
    groups: dict[tuple[str, str, str, int, str], list[Record]] = {}
    for record in records:
        machine, versions = record.machine, record.versions
        group = (machine.target, machine.cpu, versions.tvm, versions.schedule, record.runner)
        groups.setdefault(group, []).append(record)
    lines = []
    for (target, cpu, tvm, schedule, runner), members in sorted(groups.items()):
        product = 1.0
        for record in members:
            product *= record.speed_up ** (1.0 / len(members))
        lines.append(
            f"{target} ({cpu}), tvm {tvm}, schedule {schedule}, by {runner}: "
            f"{len(members)} records, {product:.2f} x"
        )
    return lines


def merge(sources: Sequence[Path], into: Path) -> tuple[int, int]:
    """Add records; returns how many there were and are.

    Raises:
        TuningRecordError: a source is missing or holds something else; nothing is written then.
    """
    found: dict[Key, Record] = {}
    for source in sources:
        keep_best(found, read_records(source).values() if source.is_dir() else read_file(source))
    before, after, _ = add_records(into, found.values())
    return before, after


def export(folder: Path, out: Path, target: str | None) -> int:
    """Write all records to one file; returns their number."""
    records = read_records(folder, target)
    lines = sorted(record.to_line() for record in records.values())
    if not lines:
        raise TuningRecordError(f"{folder} has no records{f' of {target}' if target else ''}")
    with staged_file(out) as staged:
        staged.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(lines)


def prune(
    folder: Path, target: str | None, least: float, outdated: Collection[Key] = ()
) -> tuple[int, int]:
    """Remove what no build of this installation can use; returns counts before and after.

    A record whose kernel is no longer emitted is found out only with a model: see ``outdated``,
    whose result is removed too.
    """
    current = current_versions()
    with locked(folder):
        found = read_records(folder, target)
        kept = {
            key: record
            for key, record in found.items()
            if record.versions == current and record.speed_up >= least and key not in outdated
        }
        for name in {record.machine.target for record in found.values()}:
            if not any(record.machine.target == name for record in kept.values()):
                (folder / name / FILE).unlink(missing_ok=True)
        write_records(folder, kept)
    return len(found), len(kept)
