"""`fpc bench --layers` in an emulator: what each kernel executes."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from footprint_compiler.cli import text

if TYPE_CHECKING:
    from rich.console import Console

    from footprint_compiler.artifact import Artifact
    from footprint_compiler.runners.profile import Share
    from footprint_compiler.samples import Sample

_COLUMNS = ("instructions", "per MAC", "loads", "stores", "products", "jumps", "cycles")

LONGEST = 20
"""Characters of a name in the table; JSON has all of them."""


def profiled(artifact: Artifact, sample: Sample, wait_states: int) -> dict[str, Any]:
    """The profile of one inference as a JSON object with ``layers`` and totals."""
    from footprint_compiler.runners.profile import profile

    shares = profile(artifact, sample, wait_states=wait_states)
    cycles = [share.cycles for share in shares if share.cycles is not None]
    return {
        "instructions": sum(share.instructions for share in shares),
        "macs": artifact.manifest["macs"],
        **({"estimated_cycles": sum(cycles), "wait_states": wait_states} if cycles else {}),
        "layers": [_row(share) for share in shares],
    }


def _row(share: Share) -> dict[str, Any]:
    per_mac = round(share.instructions / share.macs, 3) if share.macs else None
    return {**asdict(share), "layers": list(share.layers), "instructions_per_mac": per_mac}


def draw_profile(screen: Console, payload: dict[str, Any]) -> None:
    """A table of the profile, and how its cycles are to be read."""
    known = "estimated_cycles" in payload
    columns = _COLUMNS if known else _COLUMNS[:-1]
    listing = text.table("layer", *columns, right=columns)
    for row in payload["layers"]:
        name = row["layers"][-1] if row["layers"] else row["kernel"]
        values = [
            f"{row['instructions']:,}",
            "" if row["instructions_per_mac"] is None else f"{row['instructions_per_mac']:.2f}",
            *(
                "" if row[key] is None else f"{row[key]:,}"
                for key in ("loads", "stores", "multiplies", "jumps")
            ),
        ]
        if known:
            values.append("" if row["cycles"] is None else f"{row['cycles']:,}")
        text.add_row(
            listing, name if len(name) <= LONGEST else name[: LONGEST - 3] + "...", *values
        )
    screen.print(listing)
    screen.print(f"instructions   {payload['instructions']:,}")
    if known:
        screen.print(
            f"cycles         {payload['estimated_cycles']:,}: a model with "
            f"{payload['wait_states']} wait states, no measurement"
        )
