"""`fpc plan`: where every byte of a build goes, why, and what would change it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from footprint_compiler.cli.command import FpcCommand, show
from footprint_compiler.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from footprint_compiler.report.advice import Advice
    from footprint_compiler.report.blocks import MemoryReport


def file_option(name: str, what: str) -> Callable[[Any], Any]:
    """An option that names a file to write."""
    return click.option(name, type=click.Path(path_type=Path), metavar="FILE", help=what)


@click.command("plan", cls=FpcCommand)
@click.argument("builds", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--tensors", is_flag=True, help="List every placement.")
@click.option("--map/--no-map", "with_map", default=True, help="Draw the arena.")
@click.option("--explain", is_flag=True, help="What the peak is made of, and what would lower it.")
@click.option("--diff", is_flag=True, help="Compare two builds: fpc plan --diff OLD NEW.")
@file_option("--svg", "Write the map as a picture.")
@file_option("--html", "Write a page with everything.")
@file_option("--csv", "Write every block as a table.")
@file_option("--trace", "Write the map for a trace viewer (x is the byte).")
def plan(
    builds: tuple[Path, ...],
    tensors: bool,
    with_map: bool,
    explain: bool,
    diff: bool,
    **files: Path | None,
) -> None:
    """Show the memory of a BUILD: totals by pool, the peak, flash by layer, a map of the arena."""
    from footprint_compiler.cli import render
    from footprint_compiler.report.advice import advise
    from footprint_compiler.report.tables import to_json

    wanted = {kind: path for kind, path in files.items() if path is not None}
    if len(builds) != 1 + diff:
        raise UsageError(
            f"{len(builds)} builds are given, {1 + diff} expected",
            "Compare two builds with `fpc plan --diff OLD NEW`.",
        )
    if diff and (wanted or explain):
        raise UsageError("--diff only prints", "Leave the other options out.")
    reports = [_read(build) for build in builds]
    if diff:
        _show_difference(*reports)
        return
    report = reports[0]
    advice = advise(report) if explain or "html" in wanted else []
    _write(report, advice, wanted)

    def draw(screen: Console) -> None:
        screen.print(render.pools(report.manifest["footprint"]))
        render.draw_totals(screen, report.plan)
        render.draw_pages(screen, report.manifest["weights"])
        screen.print()
        if explain:
            screen.print(render.explanation(report))
            render.draw_advice(screen, advice)
        else:
            screen.print(render.live_at_peak(report.plan))
            screen.print(render.flash_by_layer(report))
            screen.print(render.flash_by_function(report))
            if tensors:
                screen.print(render.all_placements(report.plan))
            for line in render.arena_map(report.plan) if with_map else ():
                screen.print(line, soft_wrap=True)
        for path in wanted.values():
            screen.print(f"written {path}", markup=False, highlight=False, soft_wrap=True)

    payload = {**json.loads(report.plan.to_json()), "report": to_json(report)}
    if explain:
        payload["advice"] = [one.as_json() for one in advice]
    show(payload, draw)


def _read(build: Path) -> MemoryReport:
    from footprint_compiler.codegen.read import open_artifact
    from footprint_compiler.memory.plan import MemoryPlan
    from footprint_compiler.report.blocks import make_report

    artifact = open_artifact(build)
    text = (artifact.path / "plan.json").read_text(encoding="utf-8")
    return make_report(artifact.manifest, MemoryPlan.from_json(text))


def _show_difference(before: MemoryReport, after: MemoryReport) -> None:
    from footprint_compiler.cli import render
    from footprint_compiler.report.diff import compare

    difference = compare(before, after)
    show(difference.as_json(), lambda screen: render.draw_difference(screen, difference))


def _write(report: MemoryReport, advice: list[Advice], wanted: dict[str, Path]) -> None:
    """Every file that is asked for; each is complete or not there."""
    from footprint_compiler.codegen.staging import check_output_file, staged_file
    from footprint_compiler.report.html import to_html
    from footprint_compiler.report.svg import to_svg
    from footprint_compiler.report.tables import to_csv
    from footprint_compiler.report.trace import to_trace

    texts: dict[str, Callable[[], str]] = {
        "svg": lambda: to_svg(report),
        "html": lambda: to_html(report, advice),
        "csv": lambda: to_csv(report),
        "trace": lambda: to_trace(report),
    }
    for path in wanted.values():
        check_output_file(path)
    for kind, path in wanted.items():
        content = texts[kind]()
        with staged_file(path) as file:
            file.write_text(content, encoding="utf-8")
