"""Which kernels several threads share: those that go by rows, where dealing them out pays.

A kernel that computes any output row from rows of its inputs can be dealt out in parts of adjacent
rows. Nothing that it writes may lie where another part still reads: of its inputs, such a call
takes over only one that it reads element by element.
"""

from __future__ import annotations

from dataclasses import replace

from footprint_compiler.program import KernelCall, Program
from footprint_compiler.streaming.costs import call_cost, row_cost
from footprint_compiler.streaming.segments import make_segment

LEAST_WORK = 20_000
"""Instructions below which waking another core costs more than it gains."""
MOST_OVERHEAD = 0.25
"""Of the instructions at once, that going by rows may add."""
PARTS_PER_THREAD = 4
"""More parts than threads even out cores that are late or slower."""


def with_threads(program: Program, lanes: int) -> Program:
    """The program whose heavy calls are segments of one stage that threads share.

    Args:
        program: calls in their final order, without segments.
        lanes: elements that one instruction computes.
    """
    calls = tuple(
        _shared(program, call, f"{program.name}_s{step}", lanes) or call
        for step, call in enumerate(program.calls)
    )
    return replace(program, calls=calls)


def part_count(call: KernelCall, threads: int) -> int:
    """Parts in which the rows of a shared call are dealt out."""
    assert call.segment is not None
    rows = call.segment.stages[0].rows
    assert rows is not None
    return min(rows.height, threads * PARTS_PER_THREAD)


def is_shared(call: KernelCall) -> bool:
    """Whether threads share the call: a kernel with scratch of its own has one block only."""
    return (
        call.segment is not None
        and call.segment.parallel
        and not any(stage.scratch for stage in call.segment.stages)
    )


def _shared(program: Program, call: KernelCall, name: str, lanes: int) -> KernelCall | None:
    if call.rows is None or call.rows.height < 2 or len(call.outputs) != 1:
        return None
    work = call_cost(program, call, lanes)
    if work < LEAST_WORK or row_cost(program, call, lanes) > MOST_OVERHEAD * work:
        return None
    exact = frozenset(call.inputs[position] for position in call.rows.exact)
    made = make_segment(name, (call,), program.tensors, frozenset(call.outputs), exact)
    if made is None or made.segment is None:
        return None
    return replace(made, segment=replace(made.segment, parallel=True), overlaps=())
