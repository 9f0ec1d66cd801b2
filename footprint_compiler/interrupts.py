"""Ctrl-C stays Ctrl-C where a library turns it into an error of its own; SIGTERM ends as tidily.

TVM passes Python's exceptions through C++ by the names that it knows; an unknown one comes back
as a RuntimeError. Other libraries wrap what their callbacks raise. So the exception has its name
registered with TVM, and the program remembers that the user pressed the key.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

AGAIN_S = 2.0
"""Further signals within this time of one that was heard do not disturb the clean-up."""


@dataclass
class Interrupts:
    """Whether the user has pressed Ctrl-C, or something asked the program to end (SIGTERM)."""

    pressed: bool = False
    terminated: bool = False


@contextmanager
def watch_interrupts() -> Iterator[Interrupts]:
    """Remember Ctrl-C beside raising KeyboardInterrupt as Python does; SIGTERM raises it, too.

    So temporary files go away and child processes end; a signal that comes twice (an impatient
    user, or one sent to the process and to its group) does not cut that short. Where a signal has
    another handler, or this is not the main thread, nothing changes for it and its flag stays
    False.
    """
    seen = Interrupts()
    heard = -AGAIN_S

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal heard
        before, heard = heard, time.monotonic()
        if heard - before >= AGAIN_S:
            signal.default_int_handler(number, frame)

    def press(number: int, frame: FrameType | None) -> None:
        seen.pressed = True
        interrupt(number, frame)

    def terminate(number: int, frame: FrameType | None) -> None:
        seen.terminated = True
        interrupt(number, frame)

    usual = (
        (signal.SIGINT, signal.default_int_handler, press),
        (signal.SIGTERM, signal.SIG_DFL, terminate),
    )
    changed = []
    try:
        for number, before, handler in usual:
            if signal.getsignal(number) is before:
                signal.signal(number, handler)
                changed.append((number, before))
    except ValueError:  # not the main thread
        changed.clear()
    try:
        yield seen
    finally:
        for number, before in changed:
            signal.signal(number, before)


def name_interrupts_for_tvm() -> None:
    """From now on a KeyboardInterrupt in a function that TVM calls leaves TVM as one."""
    import tvm_ffi

    tvm_ffi.register_error("KeyboardInterrupt", KeyboardInterrupt)
