"""Small sums instead of huge ones: the same code for every sum that can occur."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tvm import relax

from footprint_compiler.kernels.quantized import Output
from footprint_compiler.passes.qdq_graph import LIMITS, Quantized
from footprint_compiler.passes.qdq_narrow_sums import Channels, narrowed
from footprint_compiler.passes.qdq_scale import INT32_SUM, reach_of_sums, sum_bound
from footprint_compiler.quant.fixed_point import fixed_point, requantize

CODES = st.sampled_from(sorted(LIMITS))
SIGNED_EXTREMES = st.sampled_from([-128, -1, 0, 1, 127])


def _input(dtype: str, zero: int) -> Quantized:
    expr = relax.Var("x", relax.TensorType((1, 4), dtype))
    return Quantized(expr, None, np.ones(1), np.array([zero]), 0)


@st.composite
def _layers(draw: Any) -> tuple[np.ndarray, Channels, Quantized, Output]:
    """Rows with a bias near a change of codes, or anywhere; multipliers down to 2^-60."""
    taps, count = draw(st.integers(1, 64)), draw(st.integers(1, 4))
    extreme = st.lists(SIGNED_EXTREMES, min_size=taps, max_size=taps)
    rows = np.array([draw(extreme) for _ in range(count)], np.int8)
    x_dtype, y_dtype = draw(st.sampled_from(["int8", "uint8"])), draw(CODES)
    x = _input(x_dtype, draw(st.integers(*LIMITS[x_dtype])))
    low, high = LIMITS[y_dtype]
    zero = draw(st.integers(low, high))
    output = Output(zero, draw(st.integers(low, zero)), draw(st.integers(zero, high)), y_dtype)
    ends = reach_of_sums(rows, x)
    bias, multiplier = np.zeros(count), np.zeros(count)
    for channel in range(count):
        m = draw(st.floats(1, 2, exclude_max=True)) * 2.0 ** draw(st.integers(-60, 2))
        near = (draw(st.integers(low - 2, high + 2)) - zero + 0.5) / m
        shift = draw(st.integers(int(ends[0][channel]) - 2, int(ends[1][channel]) + 2))
        anywhere = draw(st.floats(-1e30, 1e30))
        bias[channel] = np.rint(draw(st.sampled_from([near - shift, near, anywhere])))
        multiplier[channel] = m
    return rows, Channels.plain(bias, multiplier), x, output


def _exact(m: float, total: int, output: Output) -> int:
    code = floor(Fraction(m) * total + Fraction(1, 2)) + output.zero_point
    return min(max(code, output.low), output.high)


def _sums(low: float, high: float, turn: int) -> list[int]:
    """Both ends, the middle, and what surrounds ``turn``."""
    found = {int(low), int(high), int(low + high) // 2, *range(turn - 2, turn + 3)}
    return [total for total in found if low <= total <= high]


@given(_layers())
def test_every_code_is_that_of_the_rounded_product(layer: Any) -> None:
    rows, before, x, output = layer
    after = narrowed(rows, before, x, output)
    if after is None:
        return
    low, high = reach_of_sums(rows, x)
    for channel in range(len(rows)):
        bias, m = int(before.bias[channel]), before.multiplier[channel].item()
        new_bias, new_m = int(after.bias[channel]), after.multiplier[channel].item()
        if (new_bias, new_m) == (bias, m):
            assert after.used[channel]
            continue
        form = fixed_point(new_m)
        assert form.mantissa[0] < 1 << 29  # as few bits as fast requantization wants
        step = _exact(m, int(low[channel]) + bias, output) - output.zero_point
        turn = floor((step + Fraction(1, 2)) / Fraction(m)) - bias
        for total in _sums(low[channel], high[channel], turn):
            kept = total if after.used[channel] else 0
            code = int(requantize(np.array([kept + new_bias]), form)[0]) + output.zero_point
            code = min(max(code, output.low), output.high)
            assert code == _exact(m, total + bias, output)


@given(_layers())
def test_sums_of_what_was_changed_fit(layer: Any) -> None:
    rows, before, x, output = layer
    after = narrowed(rows, before, x, output)
    low, high = reach_of_sums(rows, x)
    if after is None or (high - low).max() >= 2**14:  # 2^16 steps of as many sums each
        return
    changed = after.multiplier != before.multiplier
    if changed.any():
        part = (rows * after.used[:, None])[changed]
        assert sum_bound(part, after.bias[changed], x) < INT32_SUM


def test_channels_that_fit_stay_as_they_are() -> None:
    rows = np.full((3, 8), 127, np.int8)
    before = Channels.plain(np.array([5.0, 2.0**31, -7.0]), np.array([1e-3, 1e-12, 0.4]))
    after = narrowed(rows, before, _input("int8", 3), Output(0, -128, 127, "int8"))
    assert after is not None
    assert after.used.tolist() == [True, False, True]
    assert after.bias.tolist() == [5.0, 0.0, -7.0]
    assert after.multiplier.tolist() == [1e-3, 0.125, 0.4]


def test_a_bias_between_two_codes_keeps_its_weights() -> None:
    rows = np.full((1, 8), 127, np.int8)
    before = Channels.plain(np.array([7.5 * 2**40 - 100]), np.array([2.0**-40]))
    after = narrowed(rows, before, _input("int8", 0), Output(0, -128, 127, "int8"))
    assert after is not None
    assert after.used.all()
    form = fixed_point(after.multiplier)
    codes = requantize(np.array([-131, 99, 100, 130048]) + int(after.bias[0]), form)
    assert codes.tolist() == [7, 7, 8, 8]


def test_sums_that_are_large_by_themselves_need_int64() -> None:
    rows = np.full((1, 80000), 127, np.int8)
    before = Channels.plain(np.zeros(1), np.array([1e-4]))
    assert narrowed(rows, before, _input("int8", 0), Output(0, -128, 127, "int8")) is None
