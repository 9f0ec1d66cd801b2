"""The product of two int8 tensors, for cores with a multiplication to 64 bits."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from footprint_compiler.kernels.c.kernel import CKernel
from footprint_compiler.kernels.c.layer import Rings, row_features
from footprint_compiler.kernels.c.operator import Operator
from footprint_compiler.kernels.c.weights import scaled
from footprint_compiler.quant.fixed_point import FRACTION_BITS


def multiply(operator: Operator, rings: Rings | None = None, feature: str = "") -> CKernel | None:
    """A ``quantized_multiply`` of two tensors of one shape, or of one by its innermost axis.

    ``feature`` is what the core has: ``mve``, or ``saturate`` (SSAT).
    """
    if not operator.has_exactly("zero_points", "mantissa", "scaling", "output"):
        return None
    arguments = operator.arguments
    output, scaling = arguments["output"], arguments["scaling"]
    whole = whole_operands(operator)
    if set(operator.dtypes) != {"int8"} or not whole:
        return None
    if (scaling["fraction"], scaling["accumulator"]) != (FRACTION_BITS, "int32"):
        return None
    order = (0, 1) if 0 in whole else (1, 0)
    period = prod(operator.shapes[order[1]]) if len(whole) == 1 else 0
    shape, rows = operator.shapes[-1], rings or {}
    count = prod(shape) if rings is None else prod(shape[2:])
    clamps = (output["low"], output["high"]) != (-128, 127)
    shift, factors = scaled(np.array([arguments["mantissa"]]), scaling["left"])
    height = shape[1] if len(shape) > 1 else 1
    return CKernel(
        "multiply",
        "multiply",
        "multiply",
        {
            "count": count,
            "period": period or count,
            "zero_a": arguments["zero_points"][order[0]],
            "zero_b": arguments["zero_points"][order[1]],
            "multiplier": int(factors[0]),
            "shift": shift,
            **_range(output),
        },
        inputs=order,
        features=row_features(rings) | frozenset({feature, "clamp"} if clamps else {feature}),
        in_place=(0,) if period else (0, 1),
        by_row=rings is not None,
        rows=tuple(
            0 if at == 1 and period else rows.get(param, height)
            for at, param in enumerate((*order, 2))
        ),
    )


def whole_operands(operator: Operator) -> tuple[int, ...]:
    """Which operands have the shape of the result; none where the other is no row of channels."""
    first, second, result = operator.shapes
    whole = tuple(at for at, shape in enumerate((first, second)) if shape == result)
    if len(whole) != 1:
        return whole
    other = operator.shapes[1 - whole[0]]
    channels = bool(result) and prod(other) == result[-1] > 1 and other[-1] == result[-1]
    return whole if channels else ()


def _range(output: Mapping[str, Any]) -> dict[str, int]:
    return {"out_zero": output["zero_point"], "low": output["low"], "high": output["high"]}
