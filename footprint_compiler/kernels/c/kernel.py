"""A kernel that is a call of a C function shared by all layers of its family."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from footprint_compiler.program import Scratch

Pack = Callable[[Sequence[np.ndarray]], np.ndarray]


@dataclass(frozen=True)
class CKernel:
    """One layer as the C function ``function`` and what it is called with.

    The C interface is ``void NAME_kN(inputs..., weights, output, scratch)``, pointers all; weights
    and scratch only where there are some, ``int32_t row`` at the end where ``by_row``.

    Attributes:
        family: for reports: conv2d, depthwise, dense, ...
        template: file of the C function, without its suffix.
        function: C function in it.
        layer: fields of its ``struct``.
        inputs: parameter positions of the tensors that it reads.
        constants: parameter positions of the constants that ``pack`` takes.
        pack: those constants -> the one block that the function reads, 16-byte aligned.
        features: switches that the template needs for this layer.
        scratch_bytes: temporary storage, 8-byte aligned.
        in_place: positions among ``inputs`` whose storage the output may take over.
        macs: multiply-accumulates.
        by_row: computes one output row, whose number is the last parameter.
        rows: of the rings of inputs and output of an elementwise kernel by rows, and of the
            inputs after the first of others, which are read at the output's element; 0 for what an
            elementwise kernel reads as a whole.
        element: C type of the tensors: ``int8_t`` with constants in words, or ``float``.
        result: C type of the output where it is another one.
        more: fields of the ``struct`` for further calls of the function, on the same tensors.
    """

    family: str
    template: str
    function: str
    layer: Mapping[str, int]
    inputs: tuple[int, ...]
    constants: tuple[int, ...] = ()
    pack: Pack | None = None
    features: frozenset[str] = frozenset()
    scratch_bytes: int = 0
    in_place: tuple[int, ...] = ()
    macs: int = 0
    by_row: bool = False
    rows: tuple[int, ...] = ()
    element: str = "int8_t"
    result: str = ""
    more: tuple[Mapping[str, int], ...] = ()

    @property
    def scratch(self) -> tuple[Scratch, ...]:
        """Temporary storage as the memory planner takes it."""
        return (Scratch(self.scratch_bytes, 8),) if self.scratch_bytes else ()
