"""The language of a kernel that has both a C function and TIR: a free choice."""

from __future__ import annotations

from footprint_compiler.kernels.decisions import choose

C, TIR = "C", "TIR"


def is_in_c() -> bool:
    """Whether the C function computes the layer in hand: the default, and a tuner may differ."""
    return choose("language", C, (C, TIR)) == C
