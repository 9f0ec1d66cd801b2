"""The language of a kernel that has both a C function and TIR: a free choice.

Only the whole image is chosen for, as with other choices: rows are those of the C function, and the
kernel in TIR takes over no storage that the C function would not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from footprint_compiler.kernels.decisions import choose
from footprint_compiler.kernels.kernel import Kernel

C, TIR = "C", "TIR"


def in_chosen_language(in_c: Kernel | None, in_tir: Callable[[], Kernel]) -> Kernel:
    """The C function by default, TIR where there is none or a tuner chose it.

    Args:
        in_c: a kernel with ``c``, or None.
        in_tir: emits the other one.
    """
    if in_c is None or in_c.c is None:
        return in_tir()
    if choose("language", C, (C, TIR)) == C:
        return in_c
    kernel = in_tir()
    allowed = {in_c.c.inputs[position] for position in in_c.in_place}
    in_place = tuple(position for position in kernel.in_place if position in allowed)
    return replace(kernel, rows=in_c.rows, in_place=in_place)
