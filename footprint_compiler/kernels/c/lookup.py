"""Any function of one 8-bit tensor as a table, for every core."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from footprint_compiler.kernels.c.kernel import CKernel
from footprint_compiler.kernels.c.layer import Rings, row_features
from footprint_compiler.kernels.c.operator import Operator
from footprint_compiler.kernels.c.weights import words

_ENTRIES = 256


def lookup(operator: Operator, rings: Rings | None = None) -> CKernel | None:
    """A ``lookup`` of 8-bit codes from 8-bit codes."""
    if not operator.has_exactly("lowest") or len(operator.shapes) != 3:
        return None
    given, entry, written = operator.dtypes
    if {given, entry, written} - {"int8", "uint8"} or operator.shapes[1] != (_ENTRIES,):
        return None
    if operator.arguments["lowest"] != (-128 if given == "int8" else 0):
        return None
    shape, rows = operator.shapes[0], rings or {}
    height = shape[1] if len(shape) > 1 else 1
    return CKernel(
        "lookup",
        "lookup",
        "lookup",
        {"count": prod(shape) if rings is None else prod(shape[2:])},
        inputs=(0,),
        constants=(1,),
        pack=_unsigned_order if given == "int8" else _as_given,
        features=row_features(rings),
        in_place=(0,),
        by_row=rings is not None,
        rows=(rows.get(0, height), rows.get(2, height)),
    )


def _as_given(constants: Sequence[np.ndarray]) -> np.ndarray:
    return words(constants[0].view(np.int8))


def _unsigned_order(constants: Sequence[np.ndarray]) -> np.ndarray:
    """The entry of -128 is that of the byte 128."""
    return _as_given([np.roll(constants[0], _ENTRIES // 2)])
