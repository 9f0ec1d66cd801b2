"""Layer normalization on quantized codes along the innermost axis, in integers only.

With x = s (q - z), n codes in a row, S = sum q and V = n sum q^2 - S^2 (exact; n^2 / s^2 times the
variance, whatever z is), D = V + E and E = max(1, round(eps n^2 / s^2)):

    (x_i - mean) / sqrt(variance + eps) = (n q_i - S) / sqrt(D)

The root is taken and inverted once for each row, with 31 bits: D is multiplied by 4^m into
[2^60, 2^62), r = floor(sqrt(4^m D)), v = floor(2^62 / r). Then, rounding halves up both times,

    u_i = (n q_i - S) v / 2^(40 - m)                       22 bits after the point
    out_i = (u_i G_i + B_i) / 2^(22 + g) + zero point      clamped

where G = round(gamma 2^g / s_out) and B = round(beta 2^(22 + g) / s_out). No intermediate leaves
int64 where ``fits`` says so.
"""

from __future__ import annotations

from math import prod
from typing import Any

from tvm import tirx

from footprint_compiler.kernels.quantized import Output
from footprint_compiler.kernels.requantize import clamped, shift_right_rounded
from footprint_compiler.kernels.tir import FAMILY, index, local, loop, prim_func, seq

POINT = 22
TOP = 60


def fits(extent: int, code_bits: int, added: int) -> bool:
    """Whether rows of ``extent`` codes of so many bits stay within int64; ``added`` is E."""
    return extent << code_bits <= 1 << 29 and added < 1 << 59


def layer_norm_codes(
    shape: tuple[int, ...], dtype: str, added: int, bits: int, output: Output
) -> Any:
    """A ``PrimFunc`` (x, gamma, beta, out) over buffers of ``shape``.

    Args:
        dtype: of ``x``; gamma is int32 and beta int64, each as long as the innermost axis.
        added: E.
        bits: g.
    """
    extent, rows = shape[-1], prod(shape[:-1])
    dims = [index(size) for size in shape]
    x = tirx.decl_buffer(dims, dtype, name="x")
    gamma = tirx.decl_buffer([index(extent)], "int32", name="gamma")
    beta = tirx.decl_buffer([index(extent)], "int64", name="beta")
    out = tirx.decl_buffer(dims, output.dtype, name="out")
    flat_x = tirx.decl_buffer([index(rows * extent)], dtype, name="x_")
    flat_out = tirx.decl_buffer([index(rows * extent)], output.dtype, name="out_")
    names = ("total", "squares", "widened", "shift", "root", "inverse", "rest")
    cells = {name: local(name, 1, "int64") for name in names}
    zero = [index(0)]

    def get(name: str) -> Any:
        return tirx.BufferLoad(cells[name], zero)

    def put(name: str, value: Any) -> Any:
        return tirx.BufferStore(cells[name], value, zero)

    def whole(value: int) -> Any:
        return tirx.const(value, "int64")

    def row(r: Any) -> Any:
        base = r * index(extent)

        def code(i: Any) -> Any:
            return tirx.BufferLoad(flat_x, [base + i]).astype("int64")

        def accumulate(i: Any) -> Any:
            return seq(
                [
                    put("total", get("total") + code(i)),
                    put("squares", get("squares") + code(i) * code(i)),
                ]
            )

        def normalize(_: Any) -> Any:
            small = get("widened") < whole(1 << TOP)
            counted = tirx.Select(small, get("shift") + whole(1), get("shift"))
            larger = tirx.Select(small, get("widened") * whole(4), get("widened"))
            return seq([put("shift", counted), put("widened", larger)])

        def next_bit(k: Any) -> Any:
            bit = tirx.shift_left(whole(1), whole(30) - k)
            tried = get("root") + bit
            return put("root", tirx.Select(tried * tried <= get("widened"), tried, get("root")))

        def divide(_: Any) -> Any:
            doubled = get("rest") * whole(2)
            taken = doubled >= get("root")
            return seq(
                [
                    put("inverse", get("inverse") * whole(2) + taken.astype("int64")),
                    put("rest", doubled - tirx.Select(taken, get("root"), whole(0))),
                ]
            )

        def finish(i: Any) -> Any:
            moved = (code(i) * whole(extent) - get("total")) * get("inverse")
            shift = whole(62 - POINT) - get("shift")
            half = tirx.shift_left(whole(1), shift - whole(1))
            unit = tirx.shift_right(moved + half, shift)
            scaled = unit * tirx.BufferLoad(gamma, [i]).astype("int64")
            value = shift_right_rounded(
                scaled + tirx.BufferLoad(beta, [i]), POINT + bits, "int64", to_even=False
            )
            limits = output.zero_point, output.low, output.high, output.dtype
            return tirx.BufferStore(flat_out, clamped(value, *limits, "int64"), [base + i])

        variance = get("squares") * whole(extent) - get("total") * get("total")
        return seq(
            [
                put("total", whole(0)),
                put("squares", whole(0)),
                loop("i", 0, extent, accumulate),
                put("widened", variance + whole(added)),
                put("shift", whole(0)),
                loop("k", 0, TOP // 2, normalize),
                put("root", whole(0)),
                loop("k", 0, 31, next_bit),
                put("rest", whole(1)),
                put("inverse", whole(0)),
                loop("k", 0, 62, divide),
                loop("i", 0, extent, finish),
            ]
        )

    body = seq(
        [
            tirx.DeclBuffer(flat_x, data=x.data),
            tirx.DeclBuffer(flat_out, data=out.data),
            *(tirx.AllocBuffer(cell) for cell in cells.values()),
            loop("row", 0, rows, row),
        ]
    )
    return prim_func([x, gamma, beta, out], body, {"op_pattern": 8, FAMILY: "layer_norm"})
