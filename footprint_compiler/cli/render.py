"""The memory plan as text: a table of totals, who is live at the peak, and a map of the arena."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from string import ascii_letters, digits
from typing import TYPE_CHECKING

from footprint_compiler.cli import text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from footprint_compiler.memory.plan import MemoryPlan, Placement

MAP_COLUMNS = 64
MAP_ROWS = 48
MARKS = ascii_letters + digits
COLORS = ("cyan", "green", "yellow", "magenta", "blue", "red")
FREE = "."


def draw_totals(screen: Console, plan: MemoryPlan) -> None:
    """Bytes of each pool, then peak, lower bound and gap."""
    listing = text.table("pool", "used", "tensors", right=("used", "tensors"))
    for pool in dict.fromkeys(p.pool for p in plan.placements.values()):
        held = [p for p in plan.placements.values() if p.pool == pool]
        used = max(p.offset_bytes + p.size_bytes for p in held)
        text.add_row(listing, pool, f"{used:,} B", len(held))
    screen.print(listing)
    proven = ", proven minimal for this order" if plan.optimal else ""
    screen.print(f"arena        {plan.arena_bytes:,} B, aligned to {plan.align_bytes} B")
    screen.print(f"peak         {plan.peak_bytes:,} B ({plan.planner})")
    screen.print(f"lower bound  {plan.lower_bound_bytes:,} B; gap {plan.gap:.1%}{proven}")
    saved = 1 - plan.peak_bytes / plan.naive_bytes if plan.naive_bytes else 0.0
    screen.print(f"no reuse     {plan.naive_bytes:,} B; reuse saves {saved:.1%}")


def live_at_peak(plan: MemoryPlan) -> Table:
    """The tensors that make the lower bound what it is."""
    share = max(plan.lower_bound_bytes, 1)
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
