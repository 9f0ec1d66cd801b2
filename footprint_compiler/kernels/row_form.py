"""Kernels that compute one output row, for streaming rows through a chain of layers.

A row kernel has the C interface

    void NAME_kN(inputs..., outputs..., scratch..., int32_t row)

and computes row ``row`` of an output of shape (1, H, W, C). Each tensor that it reads or writes by
rows lies in memory as a ring of R rows: row h is at row ``h % R`` of the block. R is static; where
it is the tensor's height, the block is the whole tensor. A ring is as long as the schedule needs,
so that the rows that the kernel reads are all there and the row that it writes is free.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from footprint_compiler.streaming.window import Window

if TYPE_CHECKING:
    from footprint_compiler.kernels.kernel import Kernel


@dataclass(frozen=True)
class RowForm:
    """How a kernel is computed row by row; a field of ``Kernel``.

    Attributes:
        height: rows of the output, which is the last parameter, of shape (1, H, W, C).
        windows: parameter index -> rows that it is read by, for each input of shape (1, H, W, C)
            that may be a ring. All other parameters are read as a whole.
        emit: (parameter index -> rows R of its ring, whole tensors left out) -> the row kernel.
            ``Kernel.func`` is made by ``rings.row_kernel``: it has the same buffer parameters,
            those in rings with R rows in the place of H, and lowering adds the parameter ``row``.
            ``Kernel.repack`` may differ from that of the plain kernel. ``Kernel.in_place`` lists
            the inputs whose row h may lie exactly where the output's row h is written.
        work: estimated instructions of all rows, relative to the kernel at once; the calls of the
            row kernel are not counted.
    """

    height: int
    windows: Mapping[int, Window]
    emit: Callable[[Mapping[int, int]], Kernel]
    work: float = 1.0
