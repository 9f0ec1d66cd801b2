"""Which way a segment goes, which its place in the arena decides."""

from __future__ import annotations

from collections.abc import Callable

from footprint_compiler.program import KernelCall


def runs_downwards(call: KernelCall, offset_of: Callable[[str], int]) -> bool:
    """Whether rows are computed from the last to the first.

    Upwards unless the output lies higher than rows computed upwards allow.

    Args:
        call: a segment.
        offset_of: tensor -> offset in the arena.
    """
    return any(
        _too_high(call, one.output, one.input, one.below, offset_of) for one in call.overlaps
    )


def _too_high(
    call: KernelCall, output: int, given: int, below: int, offset_of: Callable[[str], int]
) -> bool:
    return offset_of(call.outputs[output]) > offset_of(call.inputs[given]) + below
