"""The plan as text."""

from __future__ import annotations

import io

from rich.console import Console

from footprint_compiler.cli import render
from footprint_compiler.memory.plan import MemoryPlan, Placement


def example_plan(steps: int = 3) -> MemoryPlan:
    """x -> a -> b -> y: a chain whose tensors take turns in 192 bytes."""
    placements = {
        "x": Placement("sram", 0, 64, 0, 1),
        "a": Placement("sram", 64, 128, 0, 2),
        "b[0]": Placement("sram", 0, 32, 1, steps),
        "y": Placement("sram", 64, 64, 2, steps),
    }
    return MemoryPlan(
        placements=placements,
        arena_bytes=192,
        align_bytes=16,
        peak_bytes=192,
        lower_bound_bytes=192,
        naive_bytes=288,
        live_at_peak=("a", "x"),
        planner="by size",
        optimal=True,
        storages={name: (name,) for name in placements},
    )


def drawn(draw) -> str:
    screen = Console(file=io.StringIO(), width=100, highlight=False)
    draw(screen)
    return screen.file.getvalue()


def test_map_shows_each_storage_at_its_bytes_and_steps():
    lines = [line.plain for line in render.arena_map(example_plan(), columns=12)]
    assert lines[:4] == [
        "step  one column is 16 B",
        "   0  aaaabbbbbbbb",
        "   1  cc..bbbbbbbb",
        "   2  cc..dddd....",
    ]
    assert lines[5:] == [
        "  a x  64 B at 0",
        "  b a  128 B at 64",
        "  c b[0]  32 B at 0",
        "  d y  64 B at 64",
    ]


def test_a_long_program_is_shortened_and_keeps_its_fullest_steps():
    lines = [line.plain for line in render.arena_map(example_plan(200), columns=12, rows=10)]
    steps = [line for line in lines if line.strip()[:1].isdigit() and "  " in line][:10]
    assert len(steps) == 10
    assert steps[0].split()[1] == "aaaabbbbbbbb"


def test_an_empty_plan_can_be_drawn():
    plan = MemoryPlan({}, 0, 16, 0, 0, 0, (), "none", True)
    assert [line.plain for line in render.arena_map(plan)] == ["step  one column is 1 B", ""]
    assert "arena        0 B" in drawn(lambda screen: render.draw_totals(screen, plan))


def test_totals_and_tables(golden):
    plan = example_plan()

    def draw(screen: Console) -> None:
        render.draw_totals(screen, plan)
        screen.print(render.live_at_peak(plan))
        screen.print(render.all_placements(plan))

    golden("cli/plan_tables.txt", drawn(draw))
