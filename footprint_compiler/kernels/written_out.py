"""Loops whose body is written out several times: fewer branches, more to overlap, more code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from footprint_compiler.kernels.decisions import choose
from footprint_compiler.kernels.tir import index, loop, seq

TIMES = (1, 2, 4)


def written_out(name: str, begin: int, end: int, body: Callable[[Any], Any]) -> Any:
    """A loop whose body is written out once or several times, a free choice.

    The statements and their order are those of the plain loop.
    """
    times = choose("unroll", 1, TIMES)
    full = (end - begin) // times

    def several(t: Any) -> Any:
        first = t * index(times) + index(begin)
        return seq([body(first + index(i)) for i in range(times)])

    if times == 1 or full == 0:
        return loop(name, begin, end, body)
    rest = [body(index(k)) for k in range(begin + full * times, end)]
    return seq([loop(name, 0, full, several), *rest])
