"""`fpc bench --layers` on this machine: microseconds of each kernel."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from footprint_compiler.cli import text

if TYPE_CHECKING:
    from rich.console import Console

    from footprint_compiler.artifact import Artifact
    from footprint_compiler.samples import Sample

_COLUMNS = ("calls", "us", "share", "GMAC/s")
LONGEST = 44
"""Characters of a name in the table; JSON has all of them."""


def timed(artifact: Artifact, sample: Sample, repeat: int) -> dict[str, Any]:
    """Times of all kernels as a JSON object with ``layers`` and their sum."""
    from footprint_compiler.runners.layer_times import time_layers

    times = time_layers(artifact, sample, repeat)
    total = sum(one.min_us for one in times)
    rows = [
        {
            **asdict(one),
            "layers": list(one.layers),
            "min_us": round(one.min_us, 3),
            "share": round(one.min_us / total, 4) if total else 0.0,
            "gmacs_per_s": speed(one.macs, one.min_us),
        }
        for one in times
    ]
    return {"sum_us": round(total, 3), "macs": artifact.manifest["macs"], "layers": rows}


def speed(macs: int, microseconds: float) -> float | None:
    """Billions of multiply-accumulates per second; None for what multiplies nothing."""
    return round(macs / microseconds / 1000.0, 2) if macs and microseconds else None


def draw_times(screen: Console, payload: dict[str, Any]) -> None:
    """A table of the kernels; one that runs a chain row by row has no layer of its own."""
    listing = text.table("kernel", *_COLUMNS, right=_COLUMNS)
    for row in payload["layers"]:
        name = f"{row['kernel']} {', '.join(row['layers'])}".strip()
        text.add_row(
            listing,
            name if len(name) <= LONGEST else name[: LONGEST - 3] + "...",
            row["calls"],
            f"{row['min_us']:.2f}",
            f"{row['share']:.1%}",
            "" if row["gmacs_per_s"] is None else f"{row['gmacs_per_s']:.1f}",
        )
    screen.print(listing)
    screen.print(f"sum of the kernels' least times {payload['sum_us']:.2f} us")
