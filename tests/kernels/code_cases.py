"""int32 to 8-bit codes: sums of every pair of codes, and requantized sums around every step."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax, te, tirx

from footprint_compiler.kernels.quantized import Output
from footprint_compiler.kernels.quantized_add import quantized_add
from footprint_compiler.kernels.requantize import requantized
from footprint_compiler.quant.fixed_point import (
    Multiplier,
    requantize,
    saturate,
    shift_right_rounded,
)
from tests.kernels.harness import Bench

#: Zero points, factors, shift, output. Halves: none, many, all even, all odd, clamped away.
SUMS: dict[str, tuple[Any, Any, int, Output]] = {
    "plain": ((2, -3), (300000, 410000), 19, Output(0, -128, 127, "int8")),
    "relu": ((-128, 7), (70001, 80003), 17, Output(-128, -128, 127, "int8")),
    "clipped": ((5, 0), (103399, -268071), 18, Output(11, -40, 90, "int8")),
    "halves": ((0, 0), (262144, 262144), 19, Output(3, -128, 127, "int8")),
    "thirds": ((11, 90), (262144, -401234), 19, Output(-4, -128, 127, "int8")),
    "fine": ((0, 0), (262143, 131073), 24, Output(0, -128, 127, "int8")),
    "moved": ((0, 1), (262143, 131073), 24, Output(127, -128, 127, "int8")),
    "coarse": ((0, 0), (3, 5), 4, Output(-7, -128, 127, "int8")),
    "one": ((1, 0), (1, 1), 1, Output(0, -128, 127, "int8")),
    "down": ((0, 0), (8, 1), 4, Output(0, 0, 0, "int8")),
    "unsigned": ((128, 3), (300001, 410003), 19, Output(77, 0, 255, "uint8")),
    "window": ((128, 3), (300001, 410003), 19, Output(77, 77, 200, "uint8")),
}
#: Zero point, low, high, dtype.
FORMS = {
    "full": (0, -128, 127, "int8"),
    "relu": (-128, -128, 127, "int8"),
    "moved": (127, -128, 127, "int8"),
    "clipped": (-9, -9, 54, "int8"),
    "unsigned": (255, 0, 255, "uint8"),
    "clipped-unsigned": (100, 100, 203, "uint8"),
}
MANTISSAS = (2**31 - 1, 2**30, 3 << 21, 12_345_678)


def code_bench() -> Bench:
    """Every case above."""
    bench = Bench()
    for name, form in SUMS.items():
        _sum(bench, f"sum-{name}", *form)
    for name, limits in FORMS.items():
        for mantissa in MANTISSAS:
            _codes(bench, f"codes-{name}-{mantissa}", mantissa, limits)
    return bench


def _call(function: Any, *tensors: Any) -> Any:
    builder = relax.BlockBuilder.current()
    attrs = {"op_pattern": 0}
    return builder.call_te(function, *tensors, primfunc_name_hint="codes", primfunc_attrs=attrs)


def _sum(bench: Bench, name: str, zeros: Any, factors: Any, shift: int, output: Output) -> None:
    kind = np.iinfo(output.dtype)
    every = np.arange(kind.min, kind.max + 1, dtype=output.dtype)
    a, b = (np.ascontiguousarray(m) for m in np.meshgrid(every, every, indexing="ij"))
    terms = [
        (x.astype(np.int64) - zero) * factor
        for x, zero, factor in zip((a, b), zeros, factors, strict=True)
    ]
    moved = shift_right_rounded(terms[0] + terms[1], shift, True)
    expected = saturate(moved, output.zero_point, output.low, output.high)

    def add(x: Any, y: Any) -> Any:
        return quantized_add(x, y, zeros, factors, shift, output)

    bench.add(name, lambda x, y: _call(add, x, y), [a, b], expected)


def _codes(bench: Bench, name: str, mantissa: int, form: tuple[int, int, int, str]) -> None:
    """Accumulators as four tensors of bytes, so that a vector has as many lanes as codes."""
    zero_point, low, high, dtype = form
    steps = np.arange(-260 - zero_point, 260 - zero_point) + 0.5
    near = np.rint(steps * 2.0**31 / mantissa)
    acc = np.concatenate([near - 1, near, near + 1, [-(2**31), 2**31 - 1, 0, -1, 1]])
    acc = np.clip(acc, -(2**31), 2**31 - 1).astype(np.int64)
    exact = requantize(acc[:, None], Multiplier((mantissa,), 0))[:, 0]
    expected = saturate(exact, zero_point, low, high)
    assert len(np.unique(expected)) == high - low + 1, "some code is not tested"
    parts = [np.ascontiguousarray((acc >> bits).astype(np.int8)) for bits in (0, 8, 16, 24)]

    def compute(*tensors: Any) -> Any:
        def element(at: Any) -> Any:
            wide = [x[at].astype("uint8").astype("int32") for x in tensors]
            moved = [tirx.shift_left(x, tirx.const(8 * i, "int32")) for i, x in enumerate(wide)]
            total = tirx.bitwise_or(moved[0] + moved[1], moved[2] + moved[3])
            factor = tirx.const(mantissa, "int32")
            return requantized(total, factor, 0, zero_point, low, high, dtype)

        return te.compute(tensors[0].shape, element)

    bench.add(name, lambda *variables: _call(compute, *variables), parts, expected)
