"""Rings, distances and in-place pairs of segments that can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from footprint_compiler.codegen.rows import segment_source
from footprint_compiler.errors import PlanError
from footprint_compiler.memory import MemoryPlan, plan_memory, verify_plan
from footprint_compiler.program import KernelCall, Overlap, Program, Ring, Scratch
from footprint_compiler.streaming.lifetimes import ring_rows
from footprint_compiler.streaming.schedule import schedule_rows
from footprint_compiler.streaming.segments import make_segment
from footprint_compiler.streaming.select import select_segments
from footprint_compiler.streaming.window import RowAccess, Window
from footprint_compiler.tensor import TensorSpec

from .images import image, slide
from .machine import at_once, in_arena

HEIGHT, ROW = 8, 10
SAME = Window(HEIGHT, 1, 1, 3)


def chain(*windows: tuple[Window, int]) -> Program:
    """One call per window, of the height given with it."""
    specs = [image("x0", windows[0][0].height, ROW)]
    calls = []
    for number, (window, height) in enumerate(windows):
        specs.append(image(f"x{number + 1}", height, ROW))
        calls.append(slide(f"k{number}", specs[-2], specs[-1], window, f"n{number}"))
    return _program(specs, calls)


def _program(specs: list[TensorSpec], calls: list[KernelCall]) -> Program:
    tensors = {spec.name: spec for spec in specs}
    return Program("m", (specs[0],), (specs[-1],), tensors, {}, (), tuple(calls))


def residual() -> Program:
    """x -> 3x3 -> 3x3 -> + x, as in a residual block."""
    specs = [image(f"x{number}", HEIGHT, ROW) for number in range(4)]
    block = [slide(f"k{at}", specs[at], specs[at + 1], SAME) for at in range(2)]
    both = {0: Window(HEIGHT), 1: Window(HEIGHT)}
    rows = RowAccess(HEIGHT, both, (0, 1))
    pairs = ((0, 0), (0, 1))
    add = KernelCall("add", ("x0", "x2"), ("x3",), in_place=pairs, rows=rows)
    return _program(specs, [*block, add])


def segment_of(program: Program) -> KernelCall:
    """The whole program as one segment, whose input dies in it."""
    last = program.outputs[0].name
    dying = frozenset(spec.name for spec in program.inputs)
    call = make_segment("m_s0", program.calls, program.tensors, frozenset({last}), dying)
    assert call is not None
    return call


def streamed(program: Program) -> Program:
    call = segment_of(program)
    assert call.segment is not None
    gone = {ring.tensor.name for ring in call.segment.rings}
    tensors = {name: spec for name, spec in program.tensors.items() if name not in gone}
    return replace(program, calls=(call,), tensors=tensors)


@pytest.mark.parametrize(
    ("window", "rows"),
    [
        (Window(9, 1, 0, 1), 1),
        (Window(9, 1, 1, 3), 3),
        (Window(9, 2, 0, 3), 3),
        (Window(9, 2, 0, 1), 1),
        (Window(9, 1, 2, 5), 5),
        (Window(9, 3, 0, 2), 2),
        (Window(9, 1, 8, 9), 9),
    ],
)
@pytest.mark.parametrize("descending", [False, True])
def test_a_ring_holds_one_window(window: Window, rows: int, descending: bool) -> None:
    height = (9 + 2 * window.before - window.span) // window.stride + 1
    calls = chain((Window(9), 9), (window, height)).calls
    schedule = schedule_rows(calls, frozenset({"x2"}), descending)
    assert ring_rows(calls, schedule, 0) == rows


def test_rows_that_nothing_needs_are_not_computed() -> None:
    calls = chain((Window(9), 9), (Window(9, 3, 0, 1), 3)).calls
    events = schedule_rows(calls, frozenset({"x2"}), False).events
    assert [row for stage, row in events if stage == 0] == list(range(7))


@pytest.mark.parametrize(
    ("window", "rows_apart"), [(Window(HEIGHT), 1), (SAME, 2), (Window(HEIGHT, 1, 2, 5), 3)]
)
def test_how_close_an_output_comes_to_its_input(window: Window, rows_apart: int) -> None:
    call = segment_of(chain((window, HEIGHT)))
    assert call.overlaps == (Overlap(0, 0, -rows_apart * ROW, rows_apart * ROW),)
    plan = plan_memory(streamed(chain((window, HEIGHT))), 1)
    assert plan.peak_bytes == plan.lower_bound_bytes == (HEIGHT + rows_apart) * ROW


def test_a_residual_block_is_in_place_with_a_ring_of_three_rows() -> None:
    program = streamed(residual())
    (call,) = program.calls
    assert call.in_place == ((0, 0),)
    assert call.segment is not None
    assert [(ring.tensor.name, ring.rows) for ring in call.segment.rings] == [("x1", 3), ("x2", 1)]
    plan = plan_memory(program, 1)
    assert plan.peak_bytes == (HEIGHT + 3 + 1) * ROW + 2  # rings begin at words
    assert in_arena(program, plan) == at_once(residual())


def test_a_stage_that_reads_a_ring_as_a_whole_is_no_part_of_a_segment() -> None:
    first, second = chain((SAME, HEIGHT), (SAME, HEIGHT)).calls
    whole = replace(second, rows=RowAccess(HEIGHT))
    specs = {f"x{number}": image(f"x{number}", HEIGHT, ROW) for number in range(3)}
    assert make_segment("s", [first, whole], specs, frozenset({"x2"}), frozenset()) is None


def test_the_generated_loops() -> None:
    call = segment_of(chain((Window(9), 9), (Window(9, 2, 1, 3), 5)))
    up = segment_source(call, [["a + 0", "a + 8"], ["a + 8", "a + 4"]], descending=False)
    assert up.counters == ("r0", "r1")
    assert [line.strip() for line in up.lines] == [
        "for (; r1 < 5; r1++) {",
        "for (; r0 < 9 && r0 < r1 * 2 + 2; r0++) {",
        "k0(a + 0, a + 8, r0);",
        "}",
        "k1(a + 8, a + 4, r1);",
        "}",
    ]
    down = segment_source(call, [["a"], ["a"]], descending=True).lines
    assert [line.strip() for line in down[1:3]] == [
        "for (; r0 < 9 && r0 < r1 * 2 + 2; r0++) {",
        "k0(a, 8 - r0);",
    ]


def _moved(plan: MemoryPlan, name: str, offset: int) -> MemoryPlan:
    part = replace(plan.placements[name], offset_bytes=offset)
    placements = {**plan.placements, name: part}
    peak = max(one.offset_bytes + one.size_bytes for one in placements.values())
    return replace(
        plan, placements=placements, peak_bytes=peak, arena_bytes=peak, lower_bound_bytes=0,
        optimal=False,
    )  # fmt: skip


@pytest.mark.parametrize("way", [1, -1])
def test_the_verifier_refuses_an_output_one_byte_too_near(way: int) -> None:
    program = streamed(chain((SAME, HEIGHT)))
    plan = _moved(plan_memory(program, 1), "x0", 40)
    verify_plan(program, _moved(plan, "x1", 40 + way * 2 * ROW))
    with pytest.raises(PlanError, match=r"needs|not there"):
        verify_plan(program, _moved(plan, "x1", 40 + way * (2 * ROW - 1)))


def test_the_verifier_does_not_believe_a_distance() -> None:
    program = streamed(chain((SAME, HEIGHT)))
    plan = plan_memory(program, 1)
    (call,) = program.calls
    lie = replace(call, overlaps=(Overlap(0, 0, -ROW, ROW),))
    nearer = _moved(_moved(plan, "x0", ROW), "x1", 0)
    with pytest.raises(PlanError):
        verify_plan(replace(program, calls=(lie,)), nearer)


def test_the_verifier_refuses_a_ring_that_is_too_short() -> None:
    program = streamed(chain((Window(HEIGHT), HEIGHT), (SAME, HEIGHT)))
    (call,) = program.calls
    assert call.segment is not None
    (ring,) = call.segment.rings
    short = replace(call.segment, rings=(Ring(ring.tensor, ring.rows - 1),))
    with pytest.raises(PlanError, match="not there"):
        plan_memory(replace(program, calls=(replace(call, segment=short),)), 1)


def test_the_verifier_refuses_what_a_later_step_still_needs() -> None:
    program = streamed(chain((SAME, HEIGHT)))
    plan = plan_memory(program, 1)
    kept = replace(program, outputs=(*program.outputs, *program.inputs))
    with pytest.raises(PlanError):
        verify_plan(kept, plan)


def test_the_verifier_refuses_a_pair_in_place_that_is_read_again() -> None:
    program = streamed(chain((SAME, HEIGHT)))
    (call,) = program.calls
    lie = replace(program, calls=(replace(call, in_place=((0, 0),), overlaps=()),))
    with pytest.raises(PlanError, match=r"needs|not there"):
        plan_memory(lie, 1)


def test_a_stage_has_the_scratch_of_its_row_kernel() -> None:
    (call,) = chain((SAME, HEIGHT)).calls
    assert call.rows is not None
    heavy = replace(call, scratch=(Scratch(1000),), rows=replace(call.rows, scratch=((5, 1),)))
    program = replace(chain((SAME, HEIGHT)), calls=(heavy,))
    assert segment_of(program).scratch == (Scratch(5, 1),)


def test_segments_that_save_nothing_are_not_taken() -> None:
    small, large = image("x0", HEIGHT, ROW), TensorSpec("y", (1, 1, 1, 1000), "int8")
    call = slide("k0", small, image("x1", HEIGHT, ROW), Window(HEIGHT))
    dense = KernelCall("k1", ("x1",), ("y",))
    program = _program([small, image("x1", HEIGHT, ROW), large], [call, dense])
    assert select_segments(program, 1, float("inf")).program == program


def test_the_bound_on_the_slowdown_holds() -> None:
    program = chain((SAME, HEIGHT), (SAME, HEIGHT), (SAME, HEIGHT))
    free = select_segments(program, 1, float("inf"))
    assert free.slowdown > 0
    assert select_segments(program, 1, free.slowdown).program == free.program
    less = select_segments(program, 1, free.slowdown * 0.9)
    assert less.slowdown < free.slowdown
    assert select_segments(program, 1, 0.0).program == program
