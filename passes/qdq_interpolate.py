"""Functions of one 16-bit tensor: a table that is interpolated, where that is as good as exact.

A table of 65536 results would be larger than most models. One of 2^(16 - b) + 1 entries that are
2^b codes apart is taken instead, with the arithmetic of ``kernels.quantized.interpolated``, and
only if its result is within one step of the function as written for every one of the 65536 codes,
which is computed here. The smallest such table is used; without one the function stays in float.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from footprint_compiler.kernels.quantized import ENTRY_FRACTION_BITS, interpolated, rescale
from footprint_compiler.passes.qdq_graph import LIMITS, QdqGraph, Quantized, Target, call_te
from footprint_compiler.passes.qdq_scale import largest, requantization
from footprint_compiler.passes.rebuild import tensor_constant
from footprint_compiler.quant.fixed_point import saturate, shift_right_rounded

SPACINGS = (8, 7, 6, 5)
"""Powers of two between entries that are tried: tables of 1 to 8 KiB."""
LARGEST_ENTRY = 2**22


def rescaled(graph: QdqGraph, x: Quantized, codes: Any, target: Target) -> Any:
    """``codes``, which mean what those of ``x`` mean, as the target writes the same numbers."""
    form = requantization(float(x.scale[0]) / target.scale, largest(x))
    if form is None:
        return None
    parameters = int(x.zero_point[0]), form.mantissa, form.scaling, target.output
    source = graph.rebuilder.emit(codes)
    return call_te(graph, rescale, source, *parameters, pattern=0, name="rescale_int16")


def interpolation(
    graph: QdqGraph, x: Quantized, codes: Any, results: np.ndarray, target: Target
) -> Any:
    """The kernel for a function whose 65536 real results are given, or None."""
    output = target.output
    exact = np.rint(results.astype(np.float32) / np.float32(target.scale)).astype(np.float64)
    wanted = saturate(exact, output.zero_point, output.low, output.high)
    for bits in SPACINGS:
        table = entries(results, target.scale, bits)
        got = saturate(evaluate(table, bits), output.zero_point, output.low, output.high)
        if np.abs(got - wanted).max() <= 1:
            lowest = LIMITS[str(x.expr.ty.dtype)][0]
            return call_te(
                graph,
                interpolated,
                codes,
                tensor_constant(table),
                lowest,
                bits,
                output,
                pattern=0,
                name="interpolate_int16",
            )
    return None


def entries(results: np.ndarray, scale: float, bits: int) -> np.ndarray:
    """The table of a function; the last entry is beyond the last code, on a straight line."""
    values = results.astype(np.float64)
    beyond = 2 * values[-1] - values[-2]
    chosen = np.append(values[:: 1 << bits], beyond) / scale * 2.0**ENTRY_FRACTION_BITS
    return np.rint(np.clip(chosen, -LARGEST_ENTRY, LARGEST_ENTRY)).astype(np.int32)


def evaluate(table: np.ndarray, bits: int) -> np.ndarray:
    """What the kernel computes for all codes in order, before the zero point and the clamp."""
    place = np.arange(1 << 16)
    at, rest = place >> bits, place & ((1 << bits) - 1)
    wide = table.astype(np.int64)
    total = wide[at] * ((1 << bits) - rest) + wide[at + 1] * rest
    return shift_right_rounded(total, bits + ENTRY_FRACTION_BITS, False)
