"""Random problems for the planners."""

from __future__ import annotations

from hypothesis import strategies as st

from footprint_compiler.memory import Buffer, Problem


@st.composite
def problems(draw: st.DrawFn, max_align: int = 64, max_buffers: int = 24) -> Problem:
    buffers = []
    for index in range(draw(st.integers(0, max_buffers))):
        lower = draw(st.integers(0, 12))
        buffers.append(
            Buffer(
                id=str(index),
                lower=lower,
                upper=draw(st.integers(lower + 1, 16)),
                size=draw(st.sampled_from([0, 1, 2, 3, 5, 8, 16, 16, 24, 33, 100, 1000])),
                align=draw(st.sampled_from([a for a in (1, 3, 4, 16, 64) if a <= max_align])),
            )
        )
    return Problem(tuple(buffers))
