"""8-bit convolutions and dense layers of awkward sizes, with values that would saturate."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from tvm import relax

from footprint_compiler.kernels import quantized as q
from footprint_compiler.quant.fixed_point import fixed_point, requantize, saturate
from tests.kernels.harness import Bench
from tests.kernels.reference import conv2d, wide

LIMITS = {"int8": (-128, 127), "uint8": (0, 255)}
RNG = np.random.default_rng(11)


def _codes(dtype: str, *shape: int) -> np.ndarray:
    """Random codes; runs of both limits, so that neighbouring products are all extreme."""
    low, high = LIMITS[dtype]
    values = RNG.integers(low, high + 1, shape)
    flat = values.reshape(-1)
    flat[: flat.size // 3] = low
    flat[flat.size // 3 : flat.size // 2] = high
    return values.astype(dtype)


def _conv(
    bench: Bench,
    name: str,
    channels: int,
    out: int,
    *,
    dtype: str = "int8",
    zero: int = 17,
    groups: int = 1,
    kernel: tuple[int, int] = (3, 3),
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (1, 1, 1, 1),
    dilation: tuple[int, int] = (1, 1),
    image: tuple[int, int, int] = (1, 6, 9),
    lowest: int = -128,
) -> None:
    """A quantized convolution whose multipliers spread the sums over the codes of the output."""
    x = _codes(dtype, *image, channels)
    w = np.maximum(_codes("int8", out, channels // groups, *kernel), lowest).astype(np.int8)
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    total = conv2d(wide(x) - zero, w, **geometry)
    bias = RNG.integers(-5000, 5000, out)
    form = fixed_point(RNG.uniform(0.5, 1.0, out) * 100 / max(1.0, float(np.abs(total).max())))
    output = q.Output(-9, -128, 127, "int8")
    expected = saturate(requantize(total + bias, form), -9, -128, 127)

    def make(v: Any) -> Any:
        constants = [
            relax.const(a.astype("int32"), "int32") for a in (bias, np.array(form.mantissa))
        ]
        rest = (
            list(stride),
            list(padding),
            list(dilation),
            groups,
            zero,
            q.Scaling.of(form),
            output,
        )
        return relax.BlockBuilder.current().call_te(
            lambda *tensors: q.quantized_conv2d(*tensors, *rest),
            v,
            relax.const(w, "int8"),
            *constants,
            primfunc_name_hint="quantized",
            primfunc_attrs={"op_pattern": 4},
        )

    bench.add(name, make, [x], expected)


def _dense(bench: Bench, name: str, rows: int, depth: int, columns: int, lowest: int) -> None:
    x, w = _codes("int8", rows, depth), _codes("int8", depth, columns)
    w = np.maximum(w, lowest).astype(np.int8)
    weights = relax.const(w, "int8")
    bench.add(name, lambda v: relax.op.matmul(v, weights, "int32"), [x], wide(x) @ wide(w))


def _added(bench: Bench, name: str, rows: int, depth: int, columns: int) -> None:
    """Sums added to a tensor whose place they may take: each must be computed only once."""
    x, w = _codes("int8", rows, depth), _codes("int8", depth, columns)
    other = RNG.integers(-(2**20), 2**20, (rows, columns)).astype(np.int32)
    weights = relax.const(w, "int8")

    def make(v: Any, r: Any) -> Any:
        return relax.op.add(relax.op.matmul(v, weights, "int32"), r)

    bench.add(name, make, [x, other], wide(x) @ wide(w) + other)


def dot_bench() -> Bench:
    bench = Bench()
    add = partial(_conv, bench)
    for channels, out in ((1, 4), (3, 16), (7, 9), (8, 33), (16, 24), (33, 7)):
        add(f"conv{channels}-{out}", channels, out)
    add("uint8", 5, 17, dtype="uint8", zero=131, stride=(2, 2))
    add("uint8-rows", 16, 16, dtype="uint8", zero=255, stride=(2, 1))
    add("lowest-zero", 8, 12, zero=-128, padding=(0, 2, 1, 0))
    add("symmetric", 24, 8, zero=0, kernel=(2, 3), stride=(1, 2))
    add("no-lowest", 16, 20, lowest=-127, zero=127)
    add("dilated", 8, 5, dilation=(2, 3), padding=(2, 3, 2, 3))
    add("grouped", 32, 24, groups=4, stride=(2, 2))
    add("transformed", 32, 16, image=(2, 7, 10), padding=(1, 1, 2, 1), zero=-128)
    add("transformed-uint8", 200, 16, image=(1, 3, 6), dtype="uint8", zero=255)
    add("tall", 1, 8, kernel=(10, 4), stride=(2, 2), padding=(4, 1, 5, 1), image=(1, 13, 10))
    add("pointwise", 24, 40, kernel=(1, 1), padding=(0, 0, 0, 0), image=(2, 5, 5), lowest=-127)
    add("pointwise-odd", 11, 3, kernel=(1, 1), padding=(0, 0, 0, 0), stride=(2, 2))
    add("one-pixel", 40, 18, image=(1, 1, 1))
    for channels in (8, 16, 25, 72):
        add(f"depthwise{channels}", channels, channels, groups=channels, lowest=-127)
    add("depthwise-odd", 29, 29, groups=29, stride=(2, 1), zero=-5)
    add("pointwise-29", 16, 29, kernel=(1, 1), padding=(0, 0, 0, 0))
    add("depthwise-lowest", 24, 24, groups=24, stride=(2, 2), zero=-128)
    add("depthwise-uint8", 19, 19, groups=19, dtype="uint8", zero=200, stride=(1, 2))
    add("depthwise-even", 16, 16, groups=16, kernel=(2, 2), padding=(0, 0, 1, 1), dilation=(2, 1))
    add("depthwise-rows", 40, 40, groups=40, kernel=(4, 3), lowest=-127, dtype="uint8", zero=0)
    add("depthwise-large", 24, 24, groups=24, kernel=(5, 5), padding=(2, 1, 2, 3), zero=-128)
    add("depthwise-flat", 56, 56, groups=56, kernel=(1, 5), padding=(0, 2, 0, 2), image=(1, 2, 7))
    add("depthwise-tall", 9, 9, groups=9, kernel=(5, 1), padding=(4, 0, 4, 0), image=(1, 3, 5))
    for rows, depth, columns in ((1, 640, 40), (3, 37, 9), (9, 64, 16)):
        _dense(bench, f"dense-{rows}x{depth}x{columns}", rows, depth, columns, -128 + rows % 2)
    _added(bench, "dense-added", 7, 24, 21)
    return bench
