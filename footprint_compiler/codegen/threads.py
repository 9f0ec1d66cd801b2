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


def shared_source(name: str, call: KernelCall, arguments: Sequence[str]) -> SegmentSource:
    """The function that computes part ``part`` of ``parts`` of a shared call on a thread.

    Args:
        name: of the function.
        call: shared.
        arguments: C expressions of its pointers, those of scratch last.
    """
    assert call.shared is not None
    items, first = call.shared.items, len(arguments) - len(call.scratch)
    own = [
        f"{pointer} + (size_t)thread * {size}"
        for pointer, size in zip(arguments[first:], call.shared.scratch_bytes, strict=True)
    ]
    pointers = ", ".join([*arguments[:first], *own])
    lines = (
        f"    const int32_t begin = (int32_t)((int64_t)part * {items} / parts);",
        f"    const int32_t end = (int32_t)((int64_t)(part + 1) * {items} / parts);",
        "",
        *([] if own else ["    (void)thread;"]),
        f"    {call.kernel}({pointers}, begin, end);",
    )
    return SegmentSource(name, (), lines)
