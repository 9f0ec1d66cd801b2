"""The integer kernels against the NumPy definition of requantization, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import relax, te

from footprint_compiler.kernels import quantized as q
from footprint_compiler.kernels.quantized_add import quantized_add
from footprint_compiler.kernels.requantize import requantized
from footprint_compiler.quant.fixed_point import (
    Multiplier,
    fixed_point,
    requantize,
    saturate,
    shift_right_rounded,
    wide_fixed_point,
)
from tests.kernels.harness import Bench, Fleet, assignments
from tests.kernels.reference import conv2d, wide

LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "uint16": (0, 65535)}
RNG = np.random.default_rng(3)


def _output(zero_point: int, dtype: str = "int8", low: int | None = None) -> q.Output:
    bottom, top = LIMITS[dtype]
    return q.Output(zero_point, bottom if low is None else low, top, dtype)


def scaling(form: Multiplier) -> q.Scaling:
    return q.Scaling.of(form)


def _finished(total: np.ndarray, form: Multiplier, out: q.Output, to_even: bool) -> np.ndarray:
    return saturate(requantize(total, form, to_even), out.zero_point, out.low, out.high)


def _codes(dtype: str, *shape: int) -> np.ndarray:
    low, high = LIMITS[dtype]
    values = RNG.integers(low, high + 1, shape)
    values.flat[:: max(2, values.size // 7)] = low
    values.flat[1 :: max(2, values.size // 5)] = high
    return values.astype(dtype)


def _const(array: Any, dtype: str = "int32") -> Any:
    return relax.const(np.asarray(array, dtype), dtype)


def _call(builder: Any, function: Any, *args: Any, tensors: int) -> Any:
    return builder.call_te(
        lambda *inputs: function(*inputs, *args[tensors:]),
        *args[:tensors],
        primfunc_name_hint="quantized",
        primfunc_attrs={"op_pattern": 4},
    )


def _requantize(bench: Bench, name: str, multiplier: Any, to_even: bool) -> None:
    """int32 accumulators (rows, channels) through the TIR form alone."""
    form = fixed_point(multiplier)
    channels = len(form.mantissa)
    limit = 2**30 >> form.left
    near = np.rint(np.arange(-300, 301)[:, None] / 2 / np.atleast_1d(multiplier))
    near = np.clip(near, -limit, limit - 1)
    extremes = np.repeat([[-limit], [limit - 1], [0], [-1], [1]], channels, 1)
    acc = np.concatenate([near + i for i in (-1, 0, 1)] + [extremes])
    acc = np.clip(acc, -limit, limit - 1).astype(np.int32)
    output = _output(-3)

    def compute(x: Any, mantissa: Any) -> Any:
        return te.compute(
            x.shape,
            lambda i, c: requantized(
                x[i, c], mantissa[c], form.left, -3, -128, 127, "int8", to_even
            ),
        )

    def make(v: Any) -> Any:
        return _call(relax.BlockBuilder.current(), compute, v, _const(form.mantissa), tensors=2)

    bench.add(name, make, [acc], _finished(acc, form, output, to_even))


def _requantize_wide(bench: Bench, name: str, multiplier: Any, bound: int, dtype: str) -> None:
    """int64 accumulators up to ``bound``; results beyond int32 are clamped, not wrapped."""
    form = wide_fixed_point(multiplier, bound)
    channels = len(form.mantissa)
    near = np.rint(np.arange(-300, 301)[:, None] / 2 / np.atleast_1d(multiplier))
    extremes = np.repeat([[-bound], [bound], [0], [-1], [1]], channels, 1)
    acc = np.concatenate([near + i for i in (-1, 0, 1)] + [extremes])
    acc = np.clip(acc, -bound, bound).astype(np.int64)
    low, high = LIMITS[dtype]
    zero = 1234 if dtype == "uint16" else -7
    output = q.Output(zero, low, high, dtype)

    def compute(x: Any, mantissa: Any) -> Any:
        return te.compute(
            x.shape,
            lambda i, c: requantized(
                x[i, c], mantissa[c], 0, zero, low, high, dtype, True, form.fraction, "int64"
            ),
        )

    def make(v: Any) -> Any:
        return _call(relax.BlockBuilder.current(), compute, v, _const(form.mantissa), tensors=2)

    bench.add(name, make, [acc], _finished(acc, form, output, True))


def _conv(
    bench: Bench, name: str, dtype: str, channels: int, out: int, groups: int, **geometry: Any
) -> None:
    """Non-zero zero point, padding, bias, one multiplier for each channel."""
    zero = 17 if dtype == "int8" else 130
    stride = geometry.get("stride", [1, 1])
    padding = geometry.get("padding", [1, 1, 1, 1])
    dilation = geometry.get("dilation", [1, 1])
    kernel = geometry.get("kernel", (3, 3))
    x = _codes(dtype, *geometry.get("image", (2, 6, 7)), channels)
    w = _codes("int8", out, channels // groups, *kernel)
    bias = RNG.integers(-5000, 5000, out)
    form = fixed_point(RNG.uniform(0.2, 1.9, out) * 0.3 / np.sqrt(w[0].size) / 40)
    output = _output(-9, low=-9)
    total = conv2d(wide(x) - zero, w, tuple(stride), tuple(padding), tuple(dilation), groups=groups)
    expected = _finished(total + bias, form, output, False)
    assert expected.size < 20 or len(np.unique(expected)) > 3

    def make(v: Any) -> Any:
        constants = _const(w, "int8"), _const(bias), _const(form.mantissa)
        rest = (stride, padding, dilation, groups, zero, scaling(form), output)
        builder = relax.BlockBuilder.current()
        return _call(builder, q.quantized_conv2d, v, *constants, *rest, tensors=4)

    bench.add(name, make, [x], expected)


def _dense(bench: Bench, name: str, dtype: str, rows: int, depth: int, columns: int) -> None:
    zero = -5 if dtype == "int8" else 3
    a, w = _codes(dtype, rows, depth), _codes("int8", depth, columns)
    bias = RNG.integers(-5000, 5000, columns)
    form = fixed_point(RNG.uniform(0.2, 1.0, columns) / np.sqrt(depth) / 60)
    output = _output(7, "uint8")
    expected = _finished((wide(a) - zero) @ wide(w) + bias, form, output, False)

    def make(v: Any) -> Any:
        constants = _const(w, "int8"), _const(bias), _const(form.mantissa)
        builder = relax.BlockBuilder.current()
        rest = (zero, scaling(form), output)
        return _call(builder, q.quantized_matmul, v, *constants, *rest, tensors=4)

    bench.add(name, make, [a], expected)


def _average(bench: Bench, name: str, kernel: int, stride: int, channels: int, dtype: str) -> None:
    zero = -7 if dtype == "int8" else 100
    x = _codes(dtype, 1, 8, 9, channels)
    size = [(8 - kernel) // stride + 1, (9 - kernel) // stride + 1]
    form = fixed_point(1 / kernel**2)
    ones = np.ones((channels, 1, kernel, kernel), np.int8)
    total = conv2d(wide(x) - zero, ones, (stride, stride), groups=channels)
    output = _output(4, dtype)
    shape = [1, *size, channels]

    def make(v: Any) -> Any:
        rest = ([kernel] * 2, [stride] * 2, [0] * 4, shape, zero, form.mantissa[0], scaling(form))
        builder = relax.BlockBuilder.current()
        return _call(builder, q.quantized_average, v, *rest, output, tensors=1)

    bench.add(name, make, [x], _finished(total, form, output, True))


def _pair(bench: Bench, name: str, shapes: tuple[Any, Any], dtypes: tuple[str, str]) -> None:
    a, b = (_codes(dtype, *shape) for dtype, shape in zip(dtypes, shapes, strict=True))
    output = _output(-4)
    x, y = wide(a) - 11, wide(b) - 90
    added = shift_right_rounded(x * 262144 + y * -401234, 19, True)
    expected = saturate(added, output.zero_point, output.low, output.high)

    def add(v: Any, w: Any) -> Any:
        builder = relax.BlockBuilder.current()
        rest = ((11, 90), (262144, -401234), 19, output)
        return _call(builder, quantized_add, v, w, *rest, tensors=2)

    bench.add(f"add-{name}", add, [a, b], expected)
    form = fixed_point(1 / 96)

    def multiply(v: Any, w: Any) -> Any:
        builder = relax.BlockBuilder.current()
        rest = ((11, 90), form.mantissa[0], scaling(form), output)
        return _call(builder, q.quantized_multiply, v, w, *rest, tensors=2)

    bench.add(f"multiply-{name}", multiply, [a, b], _finished(x * y, form, output, True))


def _lookup(bench: Bench, dtype: str) -> None:
    low = LIMITS[dtype][0]
    x = np.arange(low, low + 256).astype(dtype).reshape(2, 128)
    table = RNG.permutation(np.arange(-128, 128)).astype(np.int8)

    def make(v: Any) -> Any:
        builder = relax.BlockBuilder.current()
        return _call(builder, q.lookup, v, _const(table, "int8"), low, tensors=2)

    bench.add(f"lookup-{dtype}", make, [x], table.reshape(2, 128))


def _bench() -> Bench:
    bench = Bench()
    for to_even in (False, True):
        rule = "even" if to_even else "up"
        for label, multiplier in (
            ("tiny", 2.0**-31), ("half", 0.5), ("below-1", 1 - 2.0**-31), ("one", 1.0),
            ("left", 37.3), ("third", 1 / 3), ("spread", [0.9, 0.9 * 2.0**-20, 0.5, 0.25, 1e-4]),
        ):  # fmt: skip
            _requantize(bench, f"{label}-{rule}", multiplier, to_even)
    for label, multiplier, bound in (
        ("wide-tiny", 2.0**-30, 2**45), ("wide-small", 1e-5, 2**33), ("wide-one", 1.0, 2**31),
        ("wide-large", 1e5, 2**20), ("wide-spread", [0.3, 1e-4, 0.02], 2**38),
        ("wide-beyond", 0.5, 2**50),
    ):  # fmt: skip
        for dtype in ("int16", "uint16", "int8"):
            _requantize_wide(bench, f"{label}-{dtype}", multiplier, bound, dtype)
    for dtype in ("int8", "uint8"):
        for channels in (1, 3, 9, 33):
            _conv(bench, f"conv-{dtype}-{channels}", dtype, channels, 11, 1)
        for channels in (1, 3, 8, 31):
            _conv(bench, f"depthwise-{dtype}-{channels}", dtype, channels, channels, channels,
                  stride=[2, 2])  # fmt: skip
        _conv(bench, f"grouped-{dtype}", dtype, 8, 12, 4, padding=[0, 2, 1, 0])
        _conv(bench, f"dilated-{dtype}", dtype, 4, 5, 1, dilation=[2, 1], padding=[2, 1, 2, 1])
        _conv(bench, f"pointwise-{dtype}", dtype, 7, 9, 1, kernel=(1, 1), padding=[0] * 4)
        _conv(bench, f"wide-{dtype}", dtype, 1, 4, 1, kernel=(5, 3), padding=[2, 1, 2, 1],
              stride=[1, 2])  # fmt: skip
        _conv(bench, f"point-{dtype}", dtype, 5, 3, 1, image=(1, 1, 1))
        _dense(bench, f"dense-{dtype}", dtype, 3, 127, 33)
        _average(bench, f"average2-{dtype}", 2, 2, 9, dtype)
        _average(bench, f"average3-{dtype}", 3, 1, 4, dtype)
        _lookup(bench, dtype)
    _dense(bench, "dense-1", "int8", 1, 8, 1)
    _pair(bench, "same", ((2, 3, 4, 33), (2, 3, 4, 33)), ("int8", "uint8"))
    _pair(bench, "channel", ((2, 3, 4, 9), (9,)), ("int8", "int8"))
    _pair(bench, "both", ((2, 1, 4, 1), (3, 1, 7)), ("uint8", "int8"))
    return bench


BENCH = _bench()
PAIRS = assignments(list(BENCH.cases))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(BENCH, PAIRS, tmp_path_factory.mktemp("quantized"))


@pytest.mark.parametrize(("machine", "name"), PAIRS)
def test_equals_the_definition(fleet: Fleet, machine: str, name: str) -> None:
    fleet[machine].check(name)
