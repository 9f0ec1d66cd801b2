"""The sum of two int8 tensors of one shape, for every core."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from footprint_compiler.kernels.c.kernel import CKernel
from footprint_compiler.kernels.c.layer import Rings, row_features
from footprint_compiler.kernels.c.operator import Operator


def add(operator: Operator, rings: Rings | None = None, feature: str = "") -> CKernel | None:
    """A ``quantized_add`` of tensors of one shape; None for others.

    ``feature`` is what the core has: ``mve``, ``saturate`` (SSAT), or nothing.
    """
    if not operator.has_exactly("zero_points", "factors", "shift", "output", "wide"):
        return None
    arguments = operator.arguments
    output: Mapping[str, Any] = arguments["output"]
    if set(operator.dtypes) != {"int8"} or arguments["wide"] != "int32":
        return None
    if len(set(operator.shapes)) != 1 or not 1 <= arguments["shift"] <= 24:
        return None
    shape, rows = operator.shapes[0], rings or {}
    first, second = arguments["factors"]
    zeros = arguments["zero_points"]
    height = shape[1] if len(shape) > 1 else 1
    clamps = (output["low"], output["high"]) != (-128, 127)
    half = 1 << (arguments["shift"] - 1)
    return CKernel(
        "add",
        "add",
        "add",
        {
            "count": prod(shape) if rings is None else prod(shape[2:]),
            "constant": half - zeros[0] * first - zeros[1] * second,
            "first": first,
            "second": second,
            "shift": arguments["shift"],
            "out_zero": output["zero_point"],
            "low": output["low"],
            "high": output["high"],
        },
        inputs=(0, 1),
        features=row_features(rings) | frozenset({feature, "clamp"} if clamps else {feature}),
        in_place=(0, 1),
        by_row=rings is not None,
        rows=tuple(rows.get(at, height) for at in range(3)),
    )
