"""The C of kernels that threads share, and what their pool needs.

POSIX leaves open how much stack its own functions take, so that each thread gets room for them.
"""

from __future__ import annotations

from collections.abc import Sequence

from footprint_compiler.codegen.rows import SegmentSource
from footprint_compiler.program import KernelCall

LIBC_STACK_BYTES = 16 * 1024
"""For what the C library keeps on the stack of a thread: its control block, locks, signals."""
PAGE_BYTES = 4096


def pool_words(threads: int) -> int:
    """64-bit words in which a context keeps its pool: room for the types of glibc and musl."""
    return 24 + threads


def thread_stack_bytes(worker_bytes: int) -> int:
    """Stack of a thread whose own functions need ``worker_bytes``, in whole pages."""
    return -(-(worker_bytes + LIBC_STACK_BYTES) // PAGE_BYTES) * PAGE_BYTES


def shared_source(call: KernelCall, arguments: Sequence[str]) -> SegmentSource:
    """The function that computes part ``part`` of ``parts`` of a shared call.

    Args:
        call: a segment of one stage.
        arguments: C expressions of the stage's pointers.
    """
    assert call.segment is not None
    (stage,) = call.segment.stages
    assert stage.rows is not None
    height, pointers = stage.rows.height, ", ".join(arguments)
    lines = (
        f"    const int32_t end = (part + 1) * {height} / parts;",
        "",
        f"    for (r0 = part * {height} / parts; r0 < end; r0++) {{",
        f"        {stage.kernel}({pointers}, r0);",
        "    }",
    )
    return SegmentSource(call.kernel, ("r0",), lines)
