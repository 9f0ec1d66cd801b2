"""What a generator makes of one fused function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from footprint_compiler.kernels.c.kernel import CKernel
from footprint_compiler.kernels.row_form import RowForm

Repack = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Kernel:
    """A kernel ready to be lowered.

    Attributes:
        func: TIR with buffer parameters, in the order of the fused function.
        family: name for reports: conv2d, depthwise, dense, pool, generic, ...
        repack: parameter index -> how its constant must be rearranged at build time.
        in_place: parameter indices whose storage the output may take over.
        macs: multiply-accumulates.
        rows: how to compute it row by row; None where that cannot be done.
        c: the kernel as a call of a C function; ``func`` is None then, and ``repack`` empty.
    """

    func: Any
    family: str
    repack: Mapping[int, Repack] = field(default_factory=dict)
    in_place: tuple[int, ...] = ()
    macs: int = 0
    rows: RowForm | None = None
    c: CKernel | None = None
