"""The tuning records that a build used, in its manifest: without them it cannot be built again.

They stand there instead of the folder that they came from, whose name and content may change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from footprint_compiler.targets import Target
from footprint_compiler.tuning.record import Record, current_versions, decisions_from_json
from footprint_compiler.tuning.records import write_records
from footprint_compiler.tuning.workload import machine_key

NONE = "none"


def manifest_entry(record: Record) -> dict[str, Any]:
    """A record without machine and versions, which are those of the build."""
    return {k: v for k, v in asdict(record).items() if k not in ("machine", "versions")}


def write_again(entries: Sequence[Mapping[str, Any]], target: Target, folder: Path) -> str:
    """Write the records of a manifest to a folder.

    Args:
        entries: of the manifest.
        target: of that build.
        folder: exists.

    Returns:
        What ``BuildOptions.tuning_records`` must be for the same kernels.
    """
    found = {}
    for entry in entries:
        fields = {**entry, "decisions": decisions_from_json(entry["decisions"])}
        record = Record(machine=machine_key(target), versions=current_versions(), **fields)
        found[record.key] = record
    if not found:
        return NONE
    write_records(folder, found)
    return str(folder)
