"""The live table of a session: what is on it, on wide, narrow and low screens."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from footprint_compiler.cli.tune_view import LiveWatcher, session_view, short_name
from footprint_compiler.tuning.progress import SessionState, TaskState

NAME = (
    "conv2d int8[1x25x5x64] int8[64x64x1x1] int32[64] int32[64] -> int8[1x25x5x64]",
    "dense float32[1x64] float32[64x12] float32[1x12] -> float32[1x12]",
    "softmax float32[1x12] -> float32[1x12]",
)


def state(tasks: int = 3) -> SessionState:
    rows = tuple(
        TaskState(NAME[n % 3], n + 1, 1 / (n + 2), 8.0, 4.0, 12 + n, n, "tuning")
        for n in range(tasks)
    )
    return SessionState(rows, "us", 12, 40, 75.0, 200.0, "wrong: 3 of 64 elements differ")


def lines(width: int, height: int, tasks: int = 3) -> list[str]:
    printed = io.StringIO()
    console = Console(file=printed, width=width, height=height, color_system=None)
    console.print(session_view(state(tasks), width, height))
    return printed.getvalue().splitlines()


def test_short_names_have_the_operands_that_tell_kernels_apart():
    assert [short_name(name) for name in NAME] == [
        "conv2d int8 25x5x64, 64x64x1x1 -> 25x5x64",
        "dense 1x64, 64x12 -> 1x12",
        "softmax 1x12 -> 1x12",
    ]
    assert short_name("anything") == "anything"


def test_a_wide_screen_has_everything():
    whole = "\n".join(lines(130, 40))
    for word in ("weight", "default", "best", "speed-up", "trials", "failed", "state", "50.0%",
                 "8.00 us", "4.00 us", "2.00 x", "conv2d int8 25x5x64, 64x64x1x1 -> 25x5x64",
                 "trials 12/40  1:15 gone  3:20 left", "wrong: 3 of 64"):  # fmt: skip
        assert word in whole


@pytest.mark.parametrize("width", [40, 60, 79, 100])
@pytest.mark.parametrize("height", [10, 24])
def test_it_fits_every_screen(width, height):
    found = lines(width, height, 40)
    assert len(found) < height
    assert max(len(line) for line in found) <= width
    whole = "\n".join(found)
    assert "2.00 x" in whole
    assert "more" in whole
    assert "trials 12/40" in found[-1]


def test_what_else_is_drawn_ends_first():
    order: list[str] = []
    drawn = io.StringIO()
    console = Console(file=drawn, width=100, height=30, force_terminal=True)
    watcher = LiveWatcher(lambda: order.append("ended"), console)
    watcher.update(state())
    watcher.update(state())
    watcher.close()
    assert order == ["ended"]
    assert "trials 12/40" in drawn.getvalue()
