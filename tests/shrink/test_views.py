"""Channels followed through pools, views, concatenations and per-channel constants."""

from __future__ import annotations

import numpy as np
import pytest

from tests.shrink.networks import model, shrink, unchanged, vector, weights

HEAD = "a = Conv(x, w, b) r = Relu(a)"
ARRAYS = {"w": weights(0, 4, 2, 1, 1, dead=(1, 3)), "b": vector(1, -1, 2, 0)}


def _shape(*sizes: int) -> np.ndarray:
    return np.asarray(sizes, np.int64)


@pytest.mark.parametrize(
    "middle",
    [
        "m = MaxPool<kernel_shape=[2,2]>(r)",
        "m = AveragePool<kernel_shape=[2,2], pads=[1,1,1,1], strides=[2,2]>(r)",
        "m = Clip(r, zero, six)",
        "h = LeakyRelu(r) m = Neg(h)",
        "m = PRelu(r, slope)",
        "m = Mul(r, slope)",
        "m = Mul(slope, r)",
        "h = Transpose<perm=[0,2,3,1]>(r) m = Transpose<perm=[0,3,1,2]>(h)",
        "h = Unsqueeze(r, last) m = Squeeze(h, last)",
        "h = Reshape(r, flat) m = Reshape(h, back)",
        "m = Add(r, r)",
        "m = Pad(r, pads)",
        "m = Pad(r, spatial, zero, axes)",
        'm = Pad<mode="reflect">(r, pads)',
        "g0 = GlobalAveragePool(r) s = Conv(g0, k) m = Mul(r, r)",
    ],
)
def test_channels_pass(middle: str) -> None:
    text = f"""g (float[1,2,4,4] x) => (float[1,3,?,?] y) {{ {HEAD} {middle} y = Conv(m, v) }}"""
    arrays = ARRAYS | {
        "v": weights(1, 3, 4, 1, 1), "k": weights(2, 1, 4, 1, 1),
        "zero": np.float32(0), "six": np.float32(6), "slope": weights(3, 4, 1, 1),
        "last": _shape(4), "flat": _shape(1, 4, -1), "back": _shape(1, 4, 4, 4),
        "pads": _shape(0, 0, 1, 0, 0, 0, 2, 1), "spatial": _shape(1, 1, 0, 2),
        "axes": _shape(-1, 2),
    }  # fmt: skip
    found = shrink(model(text.replace("?", "N"), arrays))
    assert found.report.filters == 2
    assert found.arrays["w"].shape == (2, 2, 1, 1)
    assert found.arrays["v"].shape == (3, 2, 1, 1)


GATE = f"""g (float[1,2,4,4] x) => (float[1,3,4,4] y) {{
  {HEAD} p = GlobalAveragePool(z) q = Conv(p, k) s = Sigmoid(q) m = Mul(r, s) y = Conv(m, v)
}}"""


def test_gate_of_a_dead_channel_goes_with_it() -> None:
    arrays = ARRAYS | {"k": weights(2, 4, 2, 1, 1), "v": weights(1, 3, 4, 1, 1)}
    found = shrink(model(GATE.replace("(z)", "(x)"), arrays))
    assert found.report.filters == 4
    assert found.arrays["k"].shape == (2, 2, 1, 1)
    assert unchanged(model(GATE.replace("(z)", "(x)").replace("Mul(", "Add("), arrays))


def test_channels_on_different_axes_are_not_confused() -> None:
    text = f"""g (float[1,2,4,4] x) => (float[1,3,4,4] y) {{
      {HEAD} c = Conv(x, u) o = Relu(c)
      t = Transpose<perm=[0,2,1,3]>(r) m = Mul(o, t) y = Conv(m, v) }}"""
    arrays = ARRAYS | {"u": weights(2, 4, 2, 1, 1), "v": weights(1, 3, 4, 1, 1)}
    assert unchanged(model(text, arrays))


def test_clip_that_lifts_zero_keeps_the_channel() -> None:
    text = f"""g (float[1,2,4,4] x) => (float[1,3,4,4] y) {{
      {HEAD} m = Clip(r, one, six) y = Conv(m, v) }}"""
    arrays = ARRAYS | {"v": weights(1, 3, 4, 1, 1), "one": np.float32(1), "six": np.float32(6)}
    assert unchanged(model(text, arrays))


@pytest.mark.parametrize("amounts", [(0, 0, 1, 0, 0, 0, 0, 0), (0, 1, 0, 0, 0, 1, 0, 0)])
def test_padding_that_is_not_zero_or_adds_channels_keeps_them(amounts: tuple[int, ...]) -> None:
    text = f"""g (float[1,2,4,4] x) => (float[1,3,N,4] y) {{
      {HEAD} m = Pad(r, pads, six) y = Conv(m, v) }}"""
    channels = 4 + amounts[1] + amounts[5]
    arrays = ARRAYS | {"v": weights(1, 3, channels, 1, 1), "six": np.float32(6),
                       "pads": _shape(*amounts)}  # fmt: skip
    assert unchanged(model(text, arrays))


def test_batch_normalization_loses_its_channels() -> None:
    text = f"""g (float[1,2,4,4] x) => (float[1,3,4,4] y) {{
      {HEAD} n = BatchNormalization(r, s, o, m, q) p = Relu(n) y = Conv(p, v) }}"""
    arrays = ARRAYS | {
        "s": vector(1, 2, 1, 2), "o": vector(1, -1, 1, 0), "m": vector(1, 2, 3, 0),
        "q": vector(1, 1, 1, 1), "v": weights(1, 3, 4, 1, 1),
    }  # fmt: skip
    found = shrink(model(text, arrays))
    assert found.report.filters == 2
    np.testing.assert_array_equal(found.arrays["m"], vector(1, 3))


@pytest.mark.parametrize("order", ["NCHW", "NHWC"])
@pytest.mark.parametrize("product", ["h = MatMul(f, v) y = Add(h, c)", "y = Gemm(f, v, c)"])
def test_rows_behind_a_flatten_go(order: str, product: str) -> None:
    move = "m = Identity(r)" if order == "NCHW" else "m = Transpose<perm=[0,2,3,1]>(r)"
    text = f"g (float[1,2,3,3] x) => (float[1,5] y) {{ {HEAD} {move} f = Flatten(m) {product} }}"
    matrix = weights(1, 36, 5)
    found = shrink(model(text, ARRAYS | {"v": matrix, "c": vector(1, 2, 3, 4, 5)}))
    assert found.report.filters == 2
    per_channel = matrix.reshape((4, 9, 5) if order == "NCHW" else (9, 4, 5))
    kept = per_channel[[0, 2]] if order == "NCHW" else per_channel[:, [0, 2]]
    np.testing.assert_array_equal(found.arrays["v"], kept.reshape(18, 5))


def test_hidden_units_of_a_perceptron_go() -> None:
    text = """g (float[2,6] x) => (float[2,3] y) {
      h = Gemm<transB=1>(x, w, b) r = Relu(h) y = Gemm<transB=1, alpha=2.0>(r, v)
    }"""
    arrays = {"w": weights(0, 5, 6, dead=(0, 4)), "b": vector(-1, 1, 1, 1, 0),
              "v": weights(1, 3, 5)}  # fmt: skip
    found = shrink(model(text, arrays))
    assert found.report.filters == 2
    assert found.arrays["v"].shape == (3, 3)


CONCAT = """g (float[1,2,4,4] x) => (float[1,3,4,4] y) {
  a = Conv(x, w, b) r = Relu(a)
  c = Conv(x, u) d = Relu(c)
  j = Concat<axis=AXIS>(d, r, x)
  y = Conv(j, v)
}"""


def test_concatenation_is_cut_at_the_right_place() -> None:
    matrix = weights(1, 3, 9, 1, 1)
    arrays = ARRAYS | {"u": weights(2, 3, 2, 1, 1), "v": matrix}
    found = shrink(model(CONCAT.replace("AXIS", "1"), arrays))
    assert found.report.filters == 2
    np.testing.assert_array_equal(found.arrays["v"], np.delete(matrix, [4, 6], axis=1))


@pytest.mark.parametrize(("dead", "removed"), [((3,), 2), ((), 0)])
def test_parts_side_by_side_share_their_channels(dead: tuple[int, ...], removed: int) -> None:
    text = CONCAT.replace("AXIS", "2").replace("(d, r, x)", "(d, r)").replace("3,4,4", "3,8,4")
    arrays = ARRAYS | {"u": weights(2, 4, 2, 1, 1, dead=dead), "v": weights(1, 3, 4, 1, 1)}
    if removed:
        assert shrink(model(text, arrays)).report.filters == removed
    else:
        assert unchanged(model(text, arrays))


def test_weights_computed_from_constants_keep_their_filters() -> None:
    text = f"""g (float[1,2,4,4] x) => (float[1,3,4,4] y) {{
      {HEAD} k = Neg(v) y = Conv(r, k) }}"""
    assert unchanged(model(text, ARRAYS | {"v": weights(1, 3, 4, 1, 1)}))


def test_transposed_weights_are_cut_at_their_source() -> None:
    text = """g (float[1,6] x) => (float[1,3] y) {
      t = Transpose(w) h = MatMul(x, t) o = Reshape(b, row) s = Add(h, o) r = Relu(s)
      y = MatMul(r, v)
    }"""
    arrays = {"w": weights(0, 5, 6, dead=(2,)), "b": vector(1, 1, -1, 1, 1),
              "row": _shape(1, 5), "v": weights(1, 5, 3)}  # fmt: skip
    found = shrink(model(text, arrays))
    assert found.report.filters == 1
    assert found.arrays["w"].shape == (4, 6)
    np.testing.assert_array_equal(found.arrays["row"], [1, 4])
