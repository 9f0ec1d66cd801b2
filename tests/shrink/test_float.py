"""Dead channels of float networks, and their twins that must stay."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.shrink.networks import model, shrink, unchanged, vector, weights

PAIR = """g (float[1,2,6,6] x) => (float[1,3,6,6] y) {
  a = Conv<pads=[1,1,1,1]>(x, w, b)
  r = Relu(a)
  y = Conv<pads=[1,1,1,1]>(r, v)
}"""


def _pair(bias: float) -> dict[str, np.ndarray]:
    return {"w": weights(0, 4, 2, 3, 3, dead=(1,)), "b": vector(1, bias, 2, -1),
            "v": weights(1, 3, 4, 3, 3)}  # fmt: skip


def test_filter_of_zeros_goes_with_the_weights_that_read_it() -> None:
    found = shrink(model(PAIR, _pair(-5)))
    assert (found.report.filters, found.report.layers, found.report.depthwise) == (1, 1, 0)
    assert found.arrays["w"].shape == (3, 2, 3, 3)
    np.testing.assert_array_equal(found.arrays["b"], vector(1, 2, -1))
    np.testing.assert_array_equal(found.arrays["v"], np.delete(_pair(0)["v"], 1, axis=1))
    assert found.report.macs_before == 36 * 9 * (4 * 2 + 3 * 4)
    assert found.report.macs_after == 36 * 9 * (3 * 2 + 3 * 3)
    assert found.report.weight_bytes_before - found.report.weight_bytes_after == 4 * (18 + 1 + 27)
    assert str(found.report) == (
        "removed 1 dead channels (0 depthwise) of 1 layers: 6,480 -> 4,860 MACs"
    )


def test_constant_other_than_zero_stays_in_float() -> None:
    assert unchanged(model(PAIR, _pair(5)))


def test_network_without_dead_filters_is_returned_as_it_is() -> None:
    arrays = _pair(-5) | {"w": weights(0, 4, 2, 3, 3)}
    assert unchanged(model(PAIR, arrays))


def test_channels_of_an_output_stay() -> None:
    text = PAIR.replace("(float[1,3,6,6] y)", "(float[1,3,6,6] y, float[1,4,6,6] r)")
    assert unchanged(model(text, _pair(-5)))


def test_channel_that_nobody_reads_goes_though_its_filter_is_not_zero() -> None:
    arrays = _pair(3) | {"w": weights(0, 4, 2, 3, 3)}
    arrays["v"][:, 2] = 0
    found = shrink(model(PAIR, arrays))
    assert found.report.filters == 1
    np.testing.assert_array_equal(found.arrays["b"], vector(1, 3, -1))


def test_one_of_two_readers_needs_the_channel() -> None:
    text = PAIR.replace("(float[1,3,6,6] y)", "(float[1,3,6,6] y, float[1,3,6,6] z)")
    text = text.replace("y = Conv", "z = Conv<pads=[1,1,1,1]>(r, u)\n y = Conv")
    arrays = _pair(3) | {"w": weights(0, 4, 2, 3, 3), "u": weights(4, 3, 4, 3, 3)}
    arrays["v"][:, 2] = 0
    assert unchanged(model(text, arrays))


def test_removal_goes_on_until_nothing_is_left_to_remove() -> None:
    text = """g (float[1,2,4,4] x) => (float[1,2,4,4] y) {
      a = Conv(x, w1) b = Relu(a) c = Conv(b, w2) d = Relu(c) y = Conv(d, w3)
    }"""
    w2 = weights(2, 3, 3, 1, 1, dead=(0,))
    w2[1:, 2] = 0  # only the filter that goes reads channel 2
    w2[0, 2] = 1
    w3 = weights(3, 2, 3, 1, 1)
    w3[:, 0] = 0
    found = shrink(model(text, {"w1": weights(1, 3, 2, 1, 1), "w2": w2, "w3": w3}))
    assert found.report.filters == 2
    assert found.arrays["w1"].shape == (2, 2, 1, 1)
    assert found.arrays["w2"].shape == (2, 2, 1, 1)


def test_one_channel_stays_where_all_are_dead() -> None:
    arrays = {"w": weights(0, 4, 2, 3, 3, dead=(0, 1, 2, 3)), "b": vector(0, 0, -1, 0),
              "v": weights(1, 3, 4, 3, 3)}  # fmt: skip
    found = shrink(model(PAIR, arrays))
    assert found.report.filters == 3
    assert found.arrays["v"].shape == (3, 1, 3, 3)


DEPTHWISE = """g (float[1,2,6,6] x) => (float[1,3,6,6] y) {
  a = Conv(x, w) r = Relu(a)
  d = Conv<group=4, pads=[1,1,1,1]>(r, k, c)
  e = Relu(d)
  y = Conv(e, v)
}"""


def _depthwise(bias: float) -> dict[str, np.ndarray]:
    return {"w": weights(0, 4, 2, 1, 1, dead=(2,)), "k": weights(1, 4, 1, 3, 3),
            "c": vector(1, 2, bias, 3), "v": weights(2, 3, 4, 1, 1)}  # fmt: skip


def test_dead_channel_takes_its_depthwise_filter_along() -> None:
    found = shrink(model(DEPTHWISE, _depthwise(-1)))
    assert (found.report.filters, found.report.depthwise, found.report.layers) == (2, 1, 2)
    groups = [a.i for n in found.model.graph.node for a in n.attribute if a.name == "group"]
    assert groups == [3]
    assert found.arrays["k"].shape == (3, 1, 3, 3)


def test_depthwise_bias_makes_the_channel_live_again() -> None:
    assert unchanged(model(DEPTHWISE, _depthwise(1)))


def test_depthwise_filter_of_zeros_takes_its_producer_along() -> None:
    arrays = _depthwise(0) | {"w": weights(0, 4, 2, 1, 1), "c": vector(1, -2, 0, 3)}
    arrays["k"][1] = 0
    found = shrink(model(DEPTHWISE, arrays))
    assert (found.report.filters, found.report.depthwise) == (2, 1)
    np.testing.assert_array_equal(found.arrays["c"], vector(1, 0, 3))


def test_channels_of_a_depth_multiplier_go_together() -> None:
    text = DEPTHWISE.replace("group=4", "group=2")
    arrays = {"w": weights(0, 2, 2, 1, 1, dead=(0,)), "k": weights(1, 4, 1, 3, 3),
              "c": vector(0, -1, 2, 3), "v": weights(2, 3, 4, 1, 1)}  # fmt: skip
    found = shrink(model(text, arrays))
    assert found.arrays["k"].shape == (2, 1, 3, 3)
    assert unchanged(model(text, arrays | {"c": vector(0, 1, 2, 3)}))


def test_grouped_convolution_keeps_what_it_reads() -> None:
    text = DEPTHWISE.replace("group=4", "group=2")
    arrays = _depthwise(-1) | {"k": weights(1, 4, 2, 3, 3)}
    assert unchanged(model(text, arrays))


RESIDUAL = """g (float[1,2,5,5] x) => (float[1,2,5,5] y) {
  a = Conv(x, w1, b1) p = Relu(a)
  b = Conv(x, w2, b2) q = Relu(b)
  s = Add(p, q)
  y = Conv(s, v)
}"""


@pytest.mark.parametrize(("second", "removed"), [((1, 2), 2), ((2,), 0), ((), 0)])
def test_members_of_a_sum_go_together_or_not_at_all(second: tuple[int, ...], removed: int) -> None:
    arrays = {
        "w1": weights(0, 3, 2, 1, 1, dead=(1,)),
        "w2": weights(1, 3, 2, 1, 1, dead=second),
        "b1": vector(1, -1, 1),
        "b2": vector(1, -2, 1),
        "v": weights(2, 2, 3, 1, 1),
    }
    if removed:
        assert shrink(model(RESIDUAL, arrays)).report.filters == removed
    else:
        assert unchanged(model(RESIDUAL, arrays))


def test_shared_weights_are_cut_for_one_reader_only() -> None:
    text = """g (float[1,3,4,4] x, float[1,2,4,4] z) => (float[1,3,4,4] y) {
      a = Conv(z, w, c) b = Relu(a) s = Conv(b, v) y0 = Conv(x, v) y = Add(s, y0)
    }"""
    arrays = {"w": weights(0, 3, 2, 1, 1, dead=(0,)), "c": vector(-1, 1, 1),
              "v": weights(1, 3, 3, 1, 1)}  # fmt: skip
    found = shrink(model(text, arrays))
    assert found.report.filters == 1
    assert sorted(a.shape[:2] for a in found.arrays.values() if a.ndim == 4) == [
        (2, 2), (3, 2), (3, 3),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "reader",
    ["Softmax<axis=1>(r)", "ReduceMean<keepdims=1>(r, axes)", "Slice(r, zero, two, axes)",
     "ArgMax<axis=1>(r)", "DepthToSpace<blocksize=2>(r)", "Sub(r, whole)", "LRN<size=3>(r)"],
)  # fmt: skip
def test_operators_across_channels_keep_them(reader: str) -> None:
    text = f"""g (float[1,2,6,6] x, float[1,1,6,6] whole) => (float y) {{
      a = Conv(x, w, b) r = Relu(a) t = {reader} u = Cast<to=1>(t)
      y = ReduceSum<keepdims=0>(u)
    }}"""
    one = np.ones(1, np.int64)
    arrays = {"w": weights(0, 4, 2, 1, 1, dead=(1,)), "b": vector(1, -1, 2, 3),
              "axes": one, "zero": 0 * one, "two": 2 * one}  # fmt: skip
    assert unchanged(model(text, arrays))


def test_damaged_models_are_left_alone() -> None:
    short = model(PAIR, _pair(-5))
    short.graph.initializer[0].raw_data = b"1234"
    assert unchanged(short)
    circular = model("g (float[1,4] x) => (float[1,4] y) { y = MatMul(x, x) }", {})
    circular.graph.node[0].input[1] = "p"
    for output, name in (("p", "q"), ("q", "p")):
        circular.graph.node.append(onnx.helper.make_node("Neg", [name], [output]))
    assert unchanged(circular)
    empty = model(PAIR, _pair(-5))
    del empty.graph.node[1].input[:]
    assert unchanged(empty)


def test_subgraphs_keep_what_they_read() -> None:
    text = """g (bool t, float[1,2,6,6] x) => (float[1,3,6,6] y, float[1,4,6,6] z) {
      a = Conv(x, w, b) r = Relu(a)
      y = Conv(r, v)
      z = If(t) <
        then_branch = g1 () => (float[1,4,6,6] p) { p = Identity(r) },
        else_branch = g2 () => (float[1,4,6,6] q) { q = Neg(r) }
      >
    }"""
    arrays = {"w": weights(0, 4, 2, 1, 1, dead=(1,)), "b": vector(1, -1, 2, 3),
              "v": weights(1, 3, 4, 1, 1)}  # fmt: skip
    assert unchanged(model(text, arrays))
