"""What a run and a benchmark give back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

QEMU_COUNTER = "qemu-plugin"
UNICORN_COUNTER = "unicorn"


@dataclass(frozen=True)
class RunResult:
    """One execution of an artifact.

    Attributes:
        outputs: output name -> array of the shape and dtype of its ``TensorSpec``.
        instructions: executed by one invocation, from the entry of ``NAME_invoke`` to its return
            (the second invocation, so that nothing is set up on the way); None when not counted.
        counter: what counted: ``QEMU_COUNTER`` or ``UNICORN_COUNTER``.
        stack_bytes_used: deepest use of the stack below the call of ``NAME_invoke``; None on
            real hardware, where it is not painted.
        arena_bytes_touched: end of the last byte of the arena that changed; None as above.
    """

    outputs: Mapping[str, np.ndarray]
    instructions: int | None = None
    counter: str | None = None
    stack_bytes_used: int | None = None
    arena_bytes_touched: int | None = None


@dataclass(frozen=True)
class BenchResult:
    """Speed of an artifact: times on real hardware, instructions in an emulator.

    Attributes:
        min_us, median_us, p90_us, p99_us: time of one invocation, without the copy of the inputs.
        threads: cores used by one invocation.
        repeats: invocations measured.
        instructions, counter: as in ``RunResult``.
    """

    min_us: float | None = None
    median_us: float | None = None
    p90_us: float | None = None
    p99_us: float | None = None
    threads: int = 1
    repeats: int = 0
    instructions: int | None = None
    counter: str | None = None
