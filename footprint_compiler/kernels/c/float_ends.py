"""Float inputs to int8 codes, and int8 codes to float outputs, for every core.

``scalar`` divides and rounds by single instructions, ``vector`` does so for four numbers; ``soft``
and what begins like that work on the bits of floats: exact as they are, at a tenth of what calls of
a float library take.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import frexp, prod

import numpy as np

from footprint_compiler.kernels.c.kernel import CKernel
from footprint_compiler.kernels.c.layer import Rings, row_features
from footprint_compiler.kernels.c.operator import Operator

_MOST_EXPONENT = 60
"""Of a scale: so that neither denormal numbers nor results that overflow need care."""

_FEATURES = {
    "scalar": frozenset({"scalar"}),
    "vector": frozenset({"mve"}),
    "soft": frozenset({"soft"}),
    "soft-thumb1": frozenset({"soft", "thumb1"}),
    "soft-rv32": frozenset({"soft", "rv32"}),
}
"""How a core computes with floats -> switches of the templates."""


def quantize(operator: Operator, rings: Rings | None = None) -> CKernel | None:
    """A ``quantize_linear``, where it also makes channels the innermost axis or moves nothing."""
    if not operator.has_exactly("axes", "scale", "zero_point", "low", "high", "arithmetic"):
        return None
    arguments = operator.arguments
    places = as_planes(operator.shapes[0], arguments["axes"])
    if operator.dtypes != ("float32", "int8") or places is None or not usable(arguments["scale"]):
        return None
    if (arguments["low"], arguments["high"]) != (-128, 127):
        return None
    channels, pixels = places
    shape, rows = operator.shapes[-1], rings or {}
    if rings is not None and channels > 1 and shape[-1] != channels:
        return None
    height = shape[1] if len(shape) > 1 else 1
    count = pixels if rings is None else prod(shape[2:]) // channels
    return CKernel(
        "quantize",
        "quantize",
        "quantize",
        {
            "count": count,
            "channels": channels,
            "plane": pixels,
            **_scale_fields(arguments["scale"], arguments["arithmetic"]),
            "zero": arguments["zero_point"],
        },
        inputs=(0,),
        features=row_features(rings) | _FEATURES[arguments["arithmetic"]],
        by_row=rings is not None,
        rows=(rows.get(0, height), rows.get(1, height)),
        element="float",
        result="int8_t",
    )


def moves_nothing(operator: Operator) -> bool:
    """Whether a ``quantize_linear`` leaves its elements where they are."""
    places = as_planes(operator.shapes[0], operator.arguments["axes"])
    return places is not None and places[0] == 1


def dequantize(operator: Operator, rings: Rings | None = None) -> CKernel | None:
    """A ``dequantize_linear`` of one scale."""
    if not operator.has_exactly("scale", "zero_point", "arithmetic"):
        return None
    arguments = operator.arguments
    if operator.dtypes != ("int8", "float32") or not usable(arguments["scale"]):
        return None
    shape, rows = operator.shapes[0], rings or {}
    height = shape[1] if len(shape) > 1 else 1
    return CKernel(
        "dequantize",
        "dequantize",
        "dequantize",
        {
            "count": prod(shape) if rings is None else prod(shape[2:]),
            **_scale_fields(arguments["scale"], arguments["arithmetic"]),
            "zero": arguments["zero_point"],
        },
        inputs=(0,),
        features=row_features(rings) | _FEATURES[arguments["arithmetic"]],
        by_row=rings is not None,
        rows=(rows.get(0, height), rows.get(1, height)),
        result="float",
    )


def arithmetic_of(unit: str, float_unit: str) -> str:
    """How a core with these sets of kernels, see ``cores``, computes with floats."""
    if float_unit:
        return "vector" if float_unit == "mve-f" else "scalar"
    return f"soft-{unit}" if unit in ("thumb1", "rv32") else "soft"


def has_dequantize(arithmetic: str) -> bool:
    """Whether C is better than TIR: a scalar unit for floats takes as many instructions in both."""
    return arithmetic != "scalar"


def usable(scale: float) -> bool:
    """Whether the kernels take a scale; those that they do not are no scales of real tensors."""
    return scale > 0 and abs(frexp(scale)[1]) <= _MOST_EXPONENT


def as_planes(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, int] | None:
    """(channels, pixels) of a transposition of planes of pixels to pixels of channels.

    One channel where nothing moves; None for other transpositions.
    """
    order = [axis for axis in axes if shape[axis] != 1]
    if order == sorted(order):
        return 1, prod(shape)
    first = order.index(min(order))
    planes, pixels = order[first:], order[:first]
    if planes != sorted(planes) or pixels != sorted(pixels) or max(planes) > min(pixels):
        return None
    return prod(shape[axis] for axis in planes), prod(shape[axis] for axis in pixels)


def _scale_fields(scale: float, arithmetic: str) -> dict[str, int]:
    """The scale as the bits of a float, or its mantissa of 24 bits, exponent and reciprocal."""
    bits = int(np.float32(scale).view(np.uint32))
    if "soft" not in _FEATURES[arithmetic]:
        return {"scale": bits}
    mantissa = bits & 0x7FFFFF | 0x800000
    reciprocal = min((1 << 55) // mantissa, (1 << 32) - 1)
    return {"mantissa": mantissa, "exponent": bits >> 23, "reciprocal": reciprocal}
