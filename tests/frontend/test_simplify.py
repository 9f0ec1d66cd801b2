"""Simplification changes no number: graphs on which rewriters are known to be careless."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from footprint_compiler.errors import UnsupportedModelError
from footprint_compiler.frontend import import_model
from tests.frontend.harness import Arrays, calls, check, model, random

F = np.float32
CASES: dict[str, tuple[onnx.ModelProto, Arrays]] = {
    "padding of a dilated convolution": (
        model(
            """g (float[1,2,9,10] x) => (float[1,2,3,5] y) {
            y = Conv<auto_pad="SAME_LOWER",dilations=[1,2],strides=[3,2]>(x, w) }""",
            {"w": random(1, 2, 2, 5, 5)},
        ),
        {"x": random(2, 1, 2, 9, 10)},
    ),
    "scattered sums over every row": (
        model(
            """g (float[3,2] x, float[3,2] u) => (float[3,2] y) {
            y = ScatterND<reduction="add">(x, i, u) }""",
            {"i": np.array([[0], [1], [2]])},
        ),
        {"x": random(3, 3, 2), "u": random(4, 3, 2)},
    ),
    "clips that do not meet": (
        model(
            """g (float[8] x) => (float[8] y, float[8] z) {
            a = Clip(x, lo, one)  y = Clip(a, two, three)
            b = Clip(x, lo, minus)  z = Relu(b) }""",
            {"lo": F(-3), "one": F(1), "two": F(2), "three": F(3), "minus": F(-1)},
        ),
        {"x": random(5, 8) * 4},
    ),
    "clips with attributes": (
        model(
            """g (float[8] x) => (float[8] y) {
            a = Relu(x)  y = Clip<max=0.5,min=-1.0>(a) }""",
            ai_onnx=8,
        ),
        {"x": random(6, 8)},
    ),
    "a bound with more axes": (
        model(
            """g (float[3] x) => (float[1,3] y) { a = Max(x, lo)  y = Min(a, hi) }""",
            {"lo": np.zeros((1, 1), F), "hi": np.ones((1, 1), F)},
        ),
        {"x": random(7, 3)},
    ),
    "halves of different sizes": (
        model(
            """g (float[2,5] x) => (float[2,2] y, float[2,3] z) {
            y = Slice(x, zero, two, axis)  z = Slice(x, two, five, axis) }""",
            {"zero": np.array([0]), "two": np.array([2]), "five": np.array([5]),
             "axis": np.array([-1])},
        ),
        {"x": random(8, 2, 5)},
    ),
    "a small number that keeps a divisor from zero": (
        model(
            """g (float[2,4] x) => (float[2,4] y) {
            n = ReduceL2<keepdims=1>(x, axis)  d = Add(n, e)  y = Div(x, d) }""",
            {"e": F(1e-8), "axis": np.array([1])},
        ),
        {"x": np.array([[0, 0, 0, 0], [1, 2, 3, 4]], F)},
    ),
    "a factor close to one": (
        model(
            """g (float[4] x) => (float[4] y) { a = Sub(x, c)  b = Mul(a, f)  y = Sub(b, a) }""",
            {"f": F(1.000008), "c": F(3)},
        ),
        {"x": random(9, 4)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_numbers_stay(name: str) -> None:
    proto, inputs = CASES[name]
    check(proto, inputs, rtol=1e-5, atol=1e-7)


def test_padding_that_is_not_zero_in_codes_is_kept() -> None:
    """ConvInteger pads with its zero point, Pad here with 0."""
    proto = model(
        """g (uint8[1,1,4,4] x) => (int32[1,1,4,4] y) {
        p = Pad(x, pads, zero)  y = ConvInteger(p, w, point) }""",
        {
            "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
            "zero": np.uint8(0),
            "point": np.uint8(7),
            "w": np.arange(9, dtype=np.int8).reshape(1, 1, 3, 3),
        },
    )
    codes = np.random.default_rng(0).integers(0, 256, (1, 1, 4, 4)).astype(np.uint8)
    check(proto, {"x": codes})


def test_padding_goes_into_the_convolution() -> None:
    proto = model(
        "g (float[1,2,6,6] x) => (float[1,3,6,6] y) { p = Pad(x, pads)  y = Conv(p, w) }",
        {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "w": random(1, 3, 2, 3, 3)},
    )
    assert calls(check(proto, {"x": random(3, 1, 2, 6, 6)})) == ["relax.nn.conv2d"]


def test_normalization_goes_into_the_weights() -> None:
    proto = model(
        """g (float[1,2,6,6] x) => (float[1,3,4,4] y) {
        c = Conv(x, w)  y = BatchNormalization(c, s, b, m, v) }""",
        {"w": random(1, 3, 2, 3, 3), **{n: abs(random(2 + i, 3)) for i, n in enumerate("sbmv")}},
    )
    graph = check(proto, {"x": random(3, 1, 2, 6, 6)})
    assert calls(graph) == ["relax.nn.conv2d", "relax.add"]


def test_normalization_in_training_is_refused_behind_a_convolution_too() -> None:
    proto = model(
        """g (float[1,2,6,6] x) => (float[1,3,4,4] y) {
        c = Conv(x, w)  y, m2, v2 = BatchNormalization<training_mode=1>(c, s, b, m, v) }""",
        {"w": random(1, 3, 2, 3, 3), **{name: abs(random(2, 3)) for name in "sbmv"}},
    )
    with pytest.raises(UnsupportedModelError):
        import_model(proto)
