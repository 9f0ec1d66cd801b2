"""Ctrl-C stays Ctrl-C, also where a library turns it into an error of its own.

TVM passes Python's exceptions through C++ by the names that it knows; an unknown one comes back
as a RuntimeError. Other libraries wrap what their callbacks raise. So the exception has its name
registered with TVM, and the program remembers that the user pressed the key.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Interrupts:
    """Whether the user has pressed Ctrl-C since the watch began."""

    pressed: bool = False


@contextmanager
def watch_interrupts() -> Iterator[Interrupts]:
    """Remember Ctrl-C beside raising KeyboardInterrupt as Python does.

    Where Python does not raise it (another handler is set, or this is not the main thread),
    nothing changes and ``pressed`` stays False.
    """
    seen = Interrupts()

    def remember(number: int, frame: FrameType | None) -> None:
        seen.pressed = True
        signal.default_int_handler(number, frame)

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield seen
        return
    try:
        signal.signal(signal.SIGINT, remember)
    except ValueError:  # not the main thread
        yield seen
        return
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def name_interrupts_for_tvm() -> None:
    """From now on a KeyboardInterrupt in a function that TVM calls leaves TVM as one."""
    import tvm_ffi

    tvm_ffi.register_error("KeyboardInterrupt", KeyboardInterrupt)
