"""Softmax on quantized codes along the innermost axis, in integers only.

With x = s (q - z), the exponentials e^(x_i - max x) = e^(-s d), d = q_max - q_i, take at most 256
values: a table T[d] = round(2^F e^(-s d)). Then, with levels = 1 / (scale of the output),

    out_i = floor((T[d_i] * levels + S / 2) / S) + zero point,   S = sum_j T[d_j]

which is the quotient rounded to nearest, halves up. F is the largest number of bits with which
T * levels and S stay below 2^32. Where levels is no integer, a second table holds
round(2^F e^(-s d) levels) in place of the product.
"""

from __future__ import annotations

from math import ceil, log2, prod
from typing import Any

import numpy as np
from tvm import tirx

from footprint_compiler.kernels.quantized import Output
from footprint_compiler.kernels.tir import FAMILY, index, local, loop, prim_func, seq

CODES = 256
LEAST_FRACTION_BITS = 12


def exponential_table(
    scale: float, extent: int, levels: float, factor: float = 1.0
) -> np.ndarray | None:
    """T, times ``factor``, as uint32; None where too few bits are left for it."""
    fraction = 32 - 1 - ceil(log2(max(extent, levels)))
    if fraction < LEAST_FRACTION_BITS:
        return None
    distances = np.arange(CODES, dtype=np.float64)
    table: np.ndarray = np.rint(np.exp(-scale * distances) * factor * 2.0**fraction).astype(
        np.uint32
    )
    return table


def softmax_codes(shape: tuple[int, ...], dtype: str, levels: int | None, output: Output) -> Any:
    """A ``PrimFunc`` (x of ``dtype``, table, out) over buffers of ``shape``.

    Tables are uint32 (256,). Without ``levels`` there is a second one after the first, in which
    the entries are multiplied already.
    """
    extent, rows = shape[-1], prod(shape[:-1])
    dims = [index(size) for size in shape]
    x = tirx.decl_buffer(dims, dtype, name="x")
    table = tirx.decl_buffer([index(CODES)], "uint32", name="table")
    out = tirx.decl_buffer(dims, output.dtype, name="out")
    flat_x = tirx.decl_buffer([index(rows * extent)], dtype, name="x_")
    flat_out = tirx.decl_buffer([index(rows * extent)], output.dtype, name="out_")
    peak = local("peak", 1, "int32")
    total = local("total", 1, "uint32")
    scaled = tirx.decl_buffer([index(CODES)], "uint32", name="scaled")
    zero = [index(0)]

    def term(at: Any, entries: Any = table) -> Any:
        distance = tirx.BufferLoad(peak, zero) - tirx.BufferLoad(flat_x, [at]).astype("int32")
        return tirx.BufferLoad(entries, [distance.astype("int64")])

    def dividend(at: Any) -> Any:
        return term(at, scaled) if levels is None else term(at) * tirx.const(levels, "uint32")

    def row(r: Any) -> Any:
        base = r * index(extent)

        def raise_peak(i: Any) -> Any:
            code = tirx.BufferLoad(flat_x, [base + i]).astype("int32")
            return tirx.BufferStore(peak, tirx.max(tirx.BufferLoad(peak, zero), code), zero)

        def accumulate(i: Any) -> Any:
            return tirx.BufferStore(total, tirx.BufferLoad(total, zero) + term(base + i), zero)

        def divide(i: Any) -> Any:
            whole = tirx.BufferLoad(total, zero)
            half = tirx.shift_right(whole, tirx.const(1, "uint32"))
            quotient = tirx.truncdiv(dividend(base + i) + half, whole)
            code = quotient.astype("int32") + tirx.const(output.zero_point, "int32")
            bounded = tirx.max(
                tirx.min(code, tirx.const(output.high, "int32")), tirx.const(output.low, "int32")
            )
            return tirx.BufferStore(flat_out, bounded.astype(output.dtype), [base + i])

        return seq(
            [
                tirx.BufferStore(peak, tirx.const(-(1 << 15), "int32"), zero),
                loop("i", 0, extent, raise_peak),
                tirx.BufferStore(total, tirx.const(0, "uint32"), zero),
                loop("i", 0, extent, accumulate),
                loop("i", 0, extent, divide),
            ]
        )

    body = seq(
        [
            tirx.DeclBuffer(flat_x, data=x.data),
            tirx.DeclBuffer(flat_out, data=out.data),
            tirx.AllocBuffer(peak),
            tirx.AllocBuffer(total),
            loop("row", 0, rows, row),
        ]
    )
    tables = [table, scaled] if levels is None else [table]
    return prim_func([x, *tables, out], body, {"op_pattern": 8, FAMILY: "softmax"})
