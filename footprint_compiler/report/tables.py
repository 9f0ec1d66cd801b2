"""A memory report as CSV and as JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from footprint_compiler.report.blocks import Block, MemoryReport

COLUMNS = (
    *("name", "kind", "pool", "offset_bytes", "size_bytes", "first_step", "end_step"),
    *("tensors", "layers"),
)


def to_csv(report: MemoryReport) -> str:
    """One line per storage after a header line; lists are joined with spaces."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for block in report.blocks:
        row = _row(block)
        writer.writerow([" ".join(v) if isinstance(v, list) else v for v in row.values()])
    return text.getvalue()


def to_json(report: MemoryReport) -> dict[str, Any]:
    """Totals, blocks and steps as one JSON object."""
    live = report.live_bytes()
    peak = report.peak_step
    return {
        "name": report.name,
        "target": report.target,
        "footprint": report.manifest["footprint"],
        "flash_parts": list(report.manifest.get("flash_parts", ())),
        "peak_step": peak,
        "blocks": [_row(block) for block in report.blocks],
        "steps": [
            {
                "step": step,
                "layers": list(layer["layers"]),
                "kernel": layer["kernel"],
                "live_bytes": live[step],
                "weights_bytes": layer["weights_bytes"],
                "code_bytes": code_of(report, layer),
            }
            for step, layer in enumerate(report.layers)
        ],
    }


def kernels_of(layer: Mapping[str, Any]) -> list[str]:
    """C symbols that a step calls: its kernel, and those that run row by row within it."""
    return [str(row["kernel"]) for row in (layer, *layer.get("stages", ()))]


def code_of(report: MemoryReport, layer: Mapping[str, Any]) -> int | None:
    """Bytes of the functions of a step; None where none is known."""
    known = report.manifest.get("kernels", {})
    sizes = [int(known[name]["code_bytes"]) for name in kernels_of(layer) if name in known]
    return sum(sizes) if sizes else None


def _row(block: Block) -> dict[str, Any]:
    values = {name: getattr(block, name) for name in COLUMNS}
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}
