"""`fpc plan`: the memory plan of a build."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from footprint_compiler.cli.command import FpcCommand, show

if TYPE_CHECKING:
    from rich.console import Console


@click.command("plan", cls=FpcCommand)
@click.argument("build", type=click.Path(path_type=Path))
@click.option("--tensors", is_flag=True, help="List every placement.")
@click.option("--map/--no-map", "with_map", default=True, help="Draw the arena.")
def plan(build: Path, tensors: bool, with_map: bool) -> None:
    """Show the memory plan of BUILD: totals, the tensors live at the peak, a map of the arena."""
    from footprint_compiler.cli import render
    from footprint_compiler.codegen.read import open_artifact
    from footprint_compiler.memory.plan import MemoryPlan

    artifact = open_artifact(build)
    found = MemoryPlan.from_json((artifact.path / "plan.json").read_text(encoding="utf-8"))

    def draw(screen: Console) -> None:
        render.draw_totals(screen, found)
        screen.print()
        screen.print(render.live_at_peak(found))
        if tensors:
            screen.print(render.all_placements(found))
        if with_map:
            for line in render.arena_map(found):
                screen.print(line, soft_wrap=True)

    show(json.loads(found.to_json()), draw)
