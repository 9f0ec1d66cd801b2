"""Decide which concatenations, splits and slices only rename bytes, and protect them.

A concatenation along the outermost axis that varies is computed in place: each part is produced
inside the result. A split or slice that is one contiguous run of bytes is a view. Such operators
stay operators through legalization; every other one becomes a kernel.
"""

from __future__ import annotations

from math import prod
from typing import Any

import tvm
from tvm import relax

from footprint_compiler.passes.rebuild import integers, op_name, shape_of

VIEW_OPS = ("relax.reshape", "relax.flatten", "relax.squeeze", "relax.expand_dims")
"""Operators that never move a byte of a dense row-major tensor."""

CONDITIONAL_VIEW_OPS = ("relax.concat", "relax.split", "relax.strided_slice")
"""Operators that move none when their axis is the outermost one."""


def conditional_legalize_map() -> dict[str, Any]:
    """Legalizations that leave an operator as it is where it is a view."""

    def guarded(name: str) -> Any:
        default = tvm.ir.Op.get(name).get_attr("FLegalize")

        def legalize(bb: Any, call: Any) -> Any:
            return call if is_view(call) else default(bb, call)

        return legalize

    return {name: guarded(name) for name in CONDITIONAL_VIEW_OPS}


def is_view(call: Any) -> bool:
    """Whether a concat, split or strided_slice only renames contiguous bytes."""
    name = op_name(call)
    if name == "relax.concat":
        if not isinstance(call.args[0], relax.Tuple):
            return False
        shapes = [shape_of(part) for part in call.args[0].fields]
        axis = int(call.attrs.axis) % len(shapes[0])
        return all(prod(shape[:axis]) == 1 for shape in shapes)
    if name == "relax.split":
        shape = shape_of(call.args[0])
        return prod(shape[: int(call.attrs.axis) % len(shape)]) == 1
    return slice_offset(call) is not None


def slice_offset(call: Any) -> int | None:
    """Element offset of a ``strided_slice`` that is one contiguous run, else None."""
    source, result = shape_of(call.args[0]), shape_of(call)
    axes, begin = integers(call.args[1].fields), integers(call.args[2].fields)
    strides = integers(call.args[4].fields) if len(call.args) > 4 else [1] * len(axes)
    starts = [0] * len(source)
    for axis, first, stride in zip(axes, begin, strides, strict=True):
        axis %= len(source)
        size = source[axis]
        if stride != 1 and result[axis] != 1:
            return None
        starts[axis] = max(0, min(first + size if first < 0 else first, size - (stride < 0)))
    partial = False
    for extent, kept in reversed(list(zip(source, result, strict=True))):
        if partial and kept != 1:
            return None
        partial = partial or kept != extent
    return sum(start * prod(source[axis + 1 :]) for axis, start in enumerate(starts))


def split_offsets(call: Any) -> list[int]:
    """Element offset of each part of a contiguous split."""
    offsets, at = [], 0
    for part in call.ty.fields:
        offsets.append(at)
        at += prod(int(extent) for extent in part.shape)
    return offsets
