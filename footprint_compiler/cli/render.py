"""The memory plan as text: a table of totals, who is live at the peak, and a map of the arena."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import cycle
from string import ascii_letters, digits
from typing import TYPE_CHECKING, Any

from footprint_compiler.cli import text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from footprint_compiler.memory.plan import MemoryPlan, Placement
    from footprint_compiler.report.advice import Advice
    from footprint_compiler.report.blocks import MemoryReport
    from footprint_compiler.report.diff import Difference

MAP_COLUMNS = 64
MAP_ROWS = 48
FLASH_ROWS = 8
MARKS = ascii_letters + digits
COLORS = ("cyan", "green", "yellow", "magenta", "blue", "red")
FREE = "."


def draw_totals(screen: Console, plan: MemoryPlan) -> None:
    """Arena, peak, lower bound and gap; of several arenas those of the first."""
    proven = ", proven minimal for this order" if plan.optimal else ""
    if plan.arenas:
        sizes = ", ".join(f"{pool} {size:,} B" for pool, size in plan.arenas.items())
        screen.print(f"arenas       {sizes}, aligned to {plan.align_bytes} B; of the first:")
    else:
        screen.print(f"arena        {plan.arena_bytes:,} B, aligned to {plan.align_bytes} B")
    screen.print(f"peak         {plan.peak_bytes:,} B ({plan.planner})")
    screen.print(f"lower bound  {plan.lower_bound_bytes:,} B; gap {plan.gap:.1%}{proven}")
    used = sum(plan.arenas.values()) or plan.peak_bytes
    saved = 1 - used / plan.naive_bytes if plan.naive_bytes else 0.0
    screen.print(f"no reuse     {plan.naive_bytes:,} B; reuse saves {saved:.1%}")


def draw_pages(screen: Console, weights: Mapping[str, Any]) -> None:
    """Pages of weights and the block of two of them, if the weights are paged."""
    if weights["mode"] == "paged":
        screen.print(
            f"pages        {weights['pages']}, the largest {weights['page_bytes']:,} B, two in "
            f"{weights['page_buffer_bytes']:,} B; all weights {weights['bytes']:,} B"
        )


def pools(footprint: Mapping[str, Any]) -> Table:
    """Every memory of the target: what lies there, of how much."""
    listing = text.table("pool", "kind", "used", "of", "holds", right=("used", "of"))
    for pool in footprint.get("pools", ()):
        parts = ", ".join(
            f"{part.removesuffix('_bytes')} {size:,}" for part, size in pool["parts"].items()
        )
        used = f"{pool['used_bytes']:,} B"
        text.add_row(
            listing, pool["name"], pool["kind"], used, text.size(pool["size_bytes"]), parts
        )
    return listing


def flash_by_layer(report: MemoryReport, rows: int = FLASH_ROWS) -> Table:
    """The layers with most weights and code; a kernel of several layers counts at the first."""
    from footprint_compiler.report.tables import kernels_of

    paged = report.manifest["weights"]["mode"] == "paged"
    title = "flash and pages by layer" if paged else "flash by layer"
    columns = (title, "kernel", "weights", "code")
    listing = text.table(*columns, right=columns[2:])
    unseen = {name: int(entry["code_bytes"]) for name, entry in _kernels(report).items()}
    found = []
    for step, layer in enumerate(report.layers):
        code = sum(unseen.pop(kernel, 0) for kernel in kernels_of(layer))
        found.append((report.step_name(step), layer["kernel"], layer["weights_bytes"], code))
    found.sort(key=lambda row: -(row[2] + row[3]))
    for name, kernel, weights, code in found[:rows]:
        text.add_row(listing, text.one_line(name, 48), kernel, f"{weights:,}", f"{code:,}")
    if len(found) > rows:
        rest = found[rows:]
        sums = (sum(row[2] for row in rest), sum(row[3] for row in rest))
        text.add_row(listing, f"{len(rest)} more", "", f"{sums[0]:,}", f"{sums[1]:,}")
    shared = report.manifest["footprint"]["flash"]["code_bytes"] - sum(row[3] for row in found)
    text.add_row(listing, "entry point and shared functions", "", "", f"{max(shared, 0):,}")
    return listing


def flash_by_function(report: MemoryReport, rows: int = FLASH_ROWS) -> Table:
    """The largest functions and tables; the last row is all flash but the weights."""
    columns = ("flash by function", "kind", "bytes")
    listing = text.table(*columns, right=columns[2:])
    parts = report.manifest.get("flash_parts", ())
    named = sorted((part for part in parts if part["name"]), key=lambda part: -part["bytes"])
    for part in named[:rows]:
        text.add_row(listing, part["name"], part["kind"], f"{part['bytes']:,}")
    rest = sum(part["bytes"] for part in named[rows:])
    if rest:
        text.add_row(listing, f"{len(named) - rows} more", "", f"{rest:,}")
    for part in parts:
        if not part["name"]:
            text.add_row(listing, "literals, padding", part["kind"], f"{part['bytes']:,}")
    flash = report.manifest["footprint"]["flash"]
    total = flash["code_bytes"] + flash["constants_bytes"]
    text.add_row(listing, "code and constants", "", f"{total:,}")
    return listing


def _kernels(report: MemoryReport) -> Mapping[str, Any]:
    return dict(report.manifest.get("kernels", {}))


def explanation(report: MemoryReport) -> Table:
    """What lies in the arena at the fullest step; shares may overlap where kernels overwrite."""
    step = report.peak_step
    total = max(report.live_bytes()[step], 1)
    columns = ("block", "kind", "bytes", "share", "steps", "layers")
    title = f"step {step} ({text.one_line(report.step_name(step), 48)}) holds {total:,} B"
    listing = text.table(*columns, right=columns[2:5], title=text.printable(title))
    for block in sorted(report.live_at(step), key=lambda block: -block.size_bytes):
        steps = f"[{block.first_step}, {block.end_step})"
        layers = text.one_line(", ".join(block.layers), 28)
        share = f"{block.size_bytes / total:.1%}"
        name = text.one_line(block.name, 28)
        text.add_row(listing, name, block.kind, f"{block.size_bytes:,}", share, steps, layers)
    return listing


def draw_advice(screen: Console, advice: Sequence[Advice]) -> None:
    """Each change that would save something, with what it costs."""
    if not advice:
        screen.print("nothing known would lower it")
    for one in advice:
        gains = [f"{kind} -{size:,} B" for kind, size in one.savings.items() if size > 0]
        most = "at most " if one.is_bound else ""
        screen.print(f"{most}{', '.join(gains)}", style="bold", markup=False)
        screen.print(f"    {text.printable(one.change)}", markup=False)
        screen.print(f"    costs: {text.printable(one.cost)}", markup=False)


def draw_difference(screen: Console, difference: Difference) -> None:
    """Totals of both builds, then the tensors that changed."""
    columns = ("total", "before", "after", "change")
    listing = text.table(*columns, right=columns[1:])
    for total in difference.totals:
        change = total.after - total.before
        shown = f"{change:+,}" if change else "="
        text.add_row(listing, total.name, f"{total.before:,}", f"{total.after:,}", shown)
    screen.print(listing)
    if not difference.tensors:
        screen.print("no tensor changed")
        return
    listing = text.table("tensor", "before", "after")
    for tensor in difference.tensors:
        text.add_row(listing, tensor.name, _place(tensor.before), _place(tensor.after))
    screen.print(listing)


def _place(part: Placement | None) -> str:
    if part is None:
        return "none"
    steps = f"[{part.first_step}, {part.end_step})"
    return f"{part.size_bytes:,} B at {part.offset_bytes:,} in {part.pool}, {steps}"


def live_at_peak(plan: MemoryPlan) -> Table:
    """The tensors that make the lower bound what it is."""
    several = sum(plan.placements[name].size_bytes for name in plan.live_at_peak)
    share = max(several if plan.arenas else plan.lower_bound_bytes, 1)
    columns = ("live at the peak", "bytes", "share", "offset", "steps")
    listing = text.table(*columns, right=columns[1:])
    for name in plan.live_at_peak:
        p = plan.placements[name]
        text.add_row(
            listing,
            name,
            f"{p.size_bytes:,}",
            f"{p.size_bytes / share:.1%}",
            f"{p.offset_bytes:,}",
            f"[{p.first_step}, {p.end_step})",
        )
    return listing


def all_placements(plan: MemoryPlan) -> Table:
    """Every placement, by first step, then offset."""
    columns = ("tensor", "pool", "offset", "bytes", "steps")
    listing = text.table(*columns, right=("offset", "bytes", "steps"))
    rows = ((p.first_step, p.offset_bytes, name, p) for name, p in plan.placements.items())
    for *_, name, p in sorted(rows, key=lambda row: row[:3]):
        steps = f"[{p.first_step}, {p.end_step})"
        text.add_row(listing, name, p.pool, f"{p.offset_bytes:,}", f"{p.size_bytes:,}", steps)
    return listing


def arena_map(plan: MemoryPlan, columns: int = MAP_COLUMNS, rows: int = MAP_ROWS) -> list[Text]:
    """The arena as lines: x is the byte, y the step, a letter per storage.

    A cell shows the storage that holds most of its bytes; ``.`` is free. Where there are more
    steps than ``rows``, a line stands for several and shows the one with most live bytes.
    """
    from rich.text import Text

    if plan.arenas:
        return [
            line
            for pool, size in plan.arenas.items()
            for line in (Text(pool), *arena_map(_one_pool(plan, pool, size), columns, rows))
        ]
    blocks = plan.storage_placements() or dict(plan.placements)
    marks = dict(zip(blocks, cycle(MARKS), strict=False))
    colors = dict(zip(blocks, cycle(COLORS), strict=False))
    steps = max((p.end_step for p in blocks.values()), default=0)
    bytes_per_cell = max(-(-plan.arena_bytes // columns), 1)
    stride = max(-(-steps // rows), 1)

    width = len(str(steps))
    lines = [Text(f"{'step':>{width}}  one column is {bytes_per_cell:,} B")]
    for first in range(0, steps, stride):
        group = range(first, min(first + stride, steps))
        step = max(group, key=lambda s: sum(p.size_bytes for p in _live(blocks, s).values()))
        line = Text(f"{step:>{max(width, 4)}}  ")
        for name in _cells(_live(blocks, step), columns, bytes_per_cell):
            line.append(FREE if name is None else marks[name], colors.get(name or "", "dim"))
        lines.append(line)
    lines.append(Text())
    for name, p in blocks.items():
        legend = Text("  ")
        legend.append(marks[name], colors[name])
        legend.append(f" {text.printable(name)}  {p.size_bytes:,} B at {p.offset_bytes:,}")
        lines.append(legend)
    return lines


def _one_pool(plan: MemoryPlan, pool: str, arena_bytes: int) -> MemoryPlan:
    """What a plan has in one of its pools."""
    storages = {
        name: owners
        for name, owners in plan.storages.items()
        if plan.placements[owners[0]].pool == pool
    }
    return replace(plan, storages=storages, arena_bytes=arena_bytes, arenas={})


def _live(blocks: Mapping[str, Placement], step: int) -> dict[str, Placement]:
    return {n: p for n, p in blocks.items() if p.first_step <= step < p.end_step}


def _cells(live: Mapping[str, Placement], columns: int, bytes_per_cell: int) -> list[str | None]:
    """For every column the storage with most bytes in it."""
    cells: list[str | None] = []
    for column in range(columns):
        low, high = column * bytes_per_cell, (column + 1) * bytes_per_cell
        overlap = {
            name: min(high, p.offset_bytes + p.size_bytes) - max(low, p.offset_bytes)
            for name, p in live.items()
        }
        best = max(overlap, key=lambda name: overlap[name], default=None)
        cells.append(best if best is not None and overlap[best] > 0 else None)
    return cells
