"""Channels that are constant because a quantized input cannot reach far enough."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from footprint_compiler.shrink import bounds
from tests.shrink.networks import model, shrink, unchanged, vector, weights

# x is at most 130 and at least -125 in steps of 1; a filter of [2, -1] reaches from -380 to 385.
TEXT = """g (int8[1,2,5,5] x) => (float[1,3,5,5] y) {
  d = DequantizeLinear(x, one, zero)
  a = Conv(d, w, b)
  MIDDLE
  y = Conv(r, v)
}"""


def _model(bias: float, middle: str) -> onnx.ModelProto:
    arrays = {"one": np.float32(1), "zero": np.int8(-3), "w": weights(0, 4, 2, 1, 1),
              "b": vector(0, bias, 0, 0), "v": weights(1, 3, 4, 1, 1), "low": np.float32(-8),
              "high": np.float32(0), "two": np.float32(2), "five": np.int8(5)}  # fmt: skip
    arrays["w"][1, :, 0, 0] = [2, -1]
    return model(TEXT.replace("MIDDLE", middle), arrays)


@pytest.mark.parametrize(("bias", "dead"), [(-385.5, True), (-384.5, False)])
def test_relu_that_nothing_can_reach(bias: float, dead: bool) -> None:
    proto = _model(bias, "r = Relu(a)")
    if dead:
        assert shrink(proto).report.filters == 1
    else:
        assert unchanged(proto)


@pytest.mark.parametrize(("bias", "dead"), [(380.5, True), (379.5, False), (-386, False)])
def test_clip_whose_upper_edge_is_always_exceeded(bias: float, dead: bool) -> None:
    proto = _model(bias, "r = Clip(a, low, high)")  # the lower edge is not zero
    if dead:
        assert shrink(proto).report.filters == 1
    else:
        assert unchanged(proto)


@pytest.mark.parametrize(
    ("bias", "dead"), [(-385, True), (-384.25, True), (-384, False), (-383.5, False)]
)
def test_levels_that_round_to_the_zero_point(bias: float, dead: bool) -> None:
    middle = """p = Relu(a) q = QuantizeLinear(p, two, five)
      r = DequantizeLinear(q, two, five)"""
    proto = _model(bias, middle)
    if dead:
        assert shrink(proto).report.filters == 1
    else:  # -384 is a tie, which is left alone: bounds are a little wider than what is reached
        assert unchanged(proto)


def test_bounds_go_through_sums_pools_and_views() -> None:
    middle = """p = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(a) s = Add(p, p)
      t = Transpose<perm=[0,2,3,1]>(s) u = Transpose<perm=[0,3,1,2]>(t) r = Relu(u)"""
    assert shrink(_model(-386, middle)).report.filters == 1
    assert unchanged(_model(-384, middle))


def test_padding_is_within_the_bounds_of_what_follows() -> None:
    middle = "c = Conv<group=4, pads=[1,1,1,1]>(p, k, o) r = Relu(c)"
    text = TEXT.replace("MIDDLE", "p = Clip(a, low, high) " + middle)
    arrays = {"one": np.float32(1), "zero": np.int8(-3), "w": weights(0, 4, 2, 1, 1),
              "b": vector(0, 0, 0, 0), "v": weights(1, 3, 4, 1, 1), "low": np.float32(-8),
              "high": np.float32(-1), "k": np.ones((4, 1, 3, 3), np.float32),
              "o": vector(-1, -1, -1, -1)}  # fmt: skip
    found = shrink(model(text, arrays))  # all of p is negative, or zero at a border
    assert found.report.filters == 6
    assert unchanged(model(text, arrays | {"k": -arrays["k"]}))
    assert unchanged(model(text, arrays | {"o": vector(1, 1, 1, 1), "high": np.float32(-0.5)}))


def test_input_without_bounds_proves_nothing() -> None:
    text = TEXT.replace("int8[1,2,5,5] x", "float[1,2,5,5] d")
    text = text.replace("d = DequantizeLinear(x, one, zero)", "").replace("MIDDLE", "r = Relu(a)")
    arrays = {"w": weights(0, 4, 2, 1, 1), "b": vector(0, -1e30, 0, 0),
              "v": weights(1, 3, 4, 1, 1)}  # fmt: skip
    assert unchanged(model(text, arrays))


def test_sum_holds_every_value_that_float32_can_compute() -> None:
    random = np.random.default_rng(0)
    layer = random.normal(size=(6, 40, 9)).astype(np.float32)
    bias = random.normal(size=6).astype(np.float32)
    edges = np.full((1, 40, 1), -1.5), np.full((1, 40, 1), 0.75)
    low, high = bounds.of_sum(layer, bias.astype(np.float64), edges)
    worst = np.where(layer > 0, np.float32(0.75), np.float32(-1.5))
    for data in (worst, random.uniform(-1.5, 0.75, layer.shape).astype(np.float32)):
        terms = (layer * data).reshape(6, -1)
        for order in (terms, terms[:, ::-1], np.sort(terms, axis=1)):
            total = np.cumsum(order, axis=1, dtype=np.float32)[:, -1] + bias
            assert (low <= total).all()
            assert (total <= high).all()
    assert (high - low < 1.001 * (np.abs(layer) * 2.25).sum(axis=(1, 2))).all()


def test_quantized_levels_are_never_too_narrow() -> None:
    scale, zero = np.float32(0.1), np.asarray(3, np.int8)
    for value in np.linspace(-14, 14, 4001, dtype=np.float32):
        level = np.clip(np.rint(value / scale) + 3, -128, 127)
        edge = np.asarray([float(value)])
        low, high = bounds.of_quantized((edge, edge), scale, zero)
        assert low[0] <= level <= high[0]
