"""Which kernels several threads share, and in how many parts.

A kernel is shared where it can be cut into items (``codegen.items``) and its work pays for waking
other cores: every part has at least ``LEAST_WORK`` instructions. Each thread has scratch of its
own. Outputs take over an input as without threads: such a kernel reads element i of that input for
element i of its output alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from footprint_compiler.program import KernelCall, Program, Scratch, Shared
from footprint_compiler.streaming.costs import call_cost

LEAST_WORK = 10_000
"""Instructions of a part: a few microseconds, of which handing it to another core takes less than
one."""
PARTS_PER_THREAD = 4
"""More parts than threads even out cores that are late or slower."""
SCRATCH_ALIGN = 64
"""So that no two threads write the same cache line of their scratch."""

Cut = Callable[[KernelCall, int], tuple[str, int, tuple[Scratch, ...]] | None]
"""(call, items that are enough) -> symbol of the kernel that computes some of its items, how many
there are, and the scratch of one thread; None where the kernel cannot be cut."""


def with_threads(program: Program, lanes: int, threads: int, cut: Cut) -> Program:
    """The program whose heavy calls are shared.

    Args:
        program: calls in their final order, with scratch.
        lanes: elements that one instruction computes.
        threads: of an inference.
        cut: see ``Cut``.
    """
    calls = tuple(_shared(program, call, lanes, threads, cut) or call for call in program.calls)
    return replace(program, calls=calls)


def _shared(
    program: Program, call: KernelCall, lanes: int, threads: int, cut: Cut
) -> KernelCall | None:
    parts = min(threads * PARTS_PER_THREAD, int(call_cost(program, call, lanes)) // LEAST_WORK)
    found = cut(call, parts) if parts > 1 else None
    if found is None:
        return None
    symbol, items, scratch = found
    own = tuple(-(-block.size_bytes // SCRATCH_ALIGN) * SCRATCH_ALIGN for block in scratch)
    blocks = tuple(Scratch(size * threads, SCRATCH_ALIGN) for size in own)
    shared = Shared(items, min(items, parts), own)
    return replace(call, kernel=symbol, scratch=blocks, rows=None, shared=shared)
