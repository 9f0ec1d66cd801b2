"""Linear resizing of rows and columns of int8 codes, for cores with a product of 64 bits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from footprint_compiler.kernels.c.kernel import CKernel, Pack
from footprint_compiler.kernels.c.layer import Rings
from footprint_compiler.kernels.c.operator import Operator
from footprint_compiler.kernels.c.weights import WORD, scaled
from footprint_compiler.quant.fixed_point import FRACTION_BITS

_TAPS = 2


def resize(operator: Operator, rings: Rings | None = None, feature: str = "") -> CKernel | None:
    """A ``quantized_weights_of_two`` of two neighbours along rows and along columns each.

    ``feature`` is what the core has: ``mve``, ``saturate`` (SSAT), or nothing.
    """
    names = ("shape", "axes", "zero_point", "mantissa", "scaling", "output")
    if rings is not None or not operator.has_exactly(*names):
        return None
    arguments = operator.arguments
    output, scaling = arguments["output"], arguments["scaling"]
    if (operator.dtypes[0], operator.dtypes[-1]) != ("int8", "int8"):
        return None
    if (scaling["fraction"], scaling["accumulator"]) != (FRACTION_BITS, "int32"):
        return None
    shape, result = operator.shapes[0], operator.shapes[-1]
    taps = {operator.shapes[at][1] for at in (1, 3)}
    if len(shape) != 4 or shape[0] != 1 or taps != {_TAPS} or sorted(arguments["axes"]) != [1, 2]:
        return None
    shift, factors = scaled(np.array([arguments["mantissa"]]), scaling["left"])
    clamps = (output["low"], output["high"]) != (-128, 127)
    return CKernel(
        "resize",
        "resize",
        "resize",
        {
            "width": shape[2],
            "channels": shape[3],
            "out_height": result[1],
            "out_width": result[2],
            "zero": arguments["zero_point"],
            "multiplier": int(factors[0]),
            "shift": shift,
            "out_zero": output["zero_point"],
            "low": output["low"],
            "high": output["high"],
        },
        inputs=(0,),
        constants=(1, 2, 3, 4),
        pack=_rows_first(arguments["axes"][0] == 1),
        features=frozenset({feature, "clamp"} if clamps else {feature}),
    )


def _rows_first(given: bool) -> Pack:
    """{place, place, weight, weight} of every output row, then those of every output column."""

    def pack(constants: Sequence[np.ndarray]) -> np.ndarray:
        axes = [
            np.concatenate([places, weights], axis=1).astype(WORD)
            for places, weights in (constants[:2], constants[2:])
        ]
        return np.concatenate(axes if given else axes[::-1]).ravel()

    return pack
