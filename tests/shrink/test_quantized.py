"""Dead channels of QDQ networks: what quantize makes of a bias, and folding it into the next one.

All scales are powers of two, so that ONNX Runtime's float arithmetic on QDQ is exact.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.shrink.networks import model, shrink, unchanged

ZERO_POINT = -10


def network(second: str, last: str = "y = QuantizeLinear(c, sy, zy)") -> str:
    """A pointwise layer, Relu, quantize, dequantize, and the layers of ``second``."""
    return f"""g (int8[1,2,6,6] x) => (int8[1,3,h,w] y) {{
      xd = DequantizeLinear(x, sx, zx)
      wd = DequantizeLinear<axis=0>(w, sw, zw) bd = DequantizeLinear<axis=0>(b, sb)
      a = Conv(xd, wd, bd) r = Relu(a)
      q = QuantizeLinear(r, sq, zq) d = DequantizeLinear(q, sq, zq)
      vd = DequantizeLinear<axis=0>(v, sv, zv) cd = DequantizeLinear<axis=0>(cb, sc)
      {second} {last}
    }}"""


def arrays(kernel: int, bias: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Layer one has 4 filters, of which the second is zero with this bias; layer two has 3."""
    random = np.random.default_rng(seed)
    w = random.integers(-9, 10, (4, 2, 1, 1)).astype(np.int8)
    w[1] = 0
    sw = np.asarray([0.5, 0.25, 1, 0.5], np.float32)
    sv = np.asarray([0.5, 1, 0.25], np.float32)
    return {
        "sx": np.float32(0.125), "zx": np.int8(3), "w": w, "sw": sw, "zw": np.zeros(4, np.int8),
        "b": np.asarray([5, bias, -7, 9], np.int32), "sb": sw * np.float32(0.125),
        "sq": np.float32(0.25), "zq": np.int8(ZERO_POINT),
        "v": random.integers(-9, 10, (3, 4, kernel, kernel)).astype(np.int8),
        "sv": sv, "zv": np.zeros(3, np.int8), "cb": np.asarray([3, -50, 11], np.int32),
        "sc": sv * np.float32(0.25), "sy": np.float32(2), "zy": np.int8(-3),
    }  # fmt: skip


POINTWISE = "c = Conv(d, vd, cd)"
PADDED = "c = Conv<pads=[1,1,1,1]>(d, vd, cd)"
UNPADDED = "c = Conv(d, vd, cd)"


@pytest.mark.parametrize(("bias", "kernel", "second"), [(-40, 1, POINTWISE), (3, 3, PADDED)])
def test_constant_that_quantizes_to_the_zero_point(bias: int, kernel: int, second: str) -> None:
    given = arrays(kernel, bias)  # 3/32 is below half a step of 1/4
    found = shrink(model(network(second), given))
    assert found.report.filters == 1
    assert found.arrays["w"].dtype == np.int8
    np.testing.assert_array_equal(found.arrays["w"], given["w"][[0, 2, 3]])
    np.testing.assert_array_equal(found.arrays["b"], given["b"][[0, 2, 3]])
    np.testing.assert_array_equal(found.arrays["sw"], given["sw"][[0, 2, 3]])
    np.testing.assert_array_equal(found.arrays["cb"], given["cb"])


@pytest.mark.parametrize(("bias", "level"), [(100, 12), (20, 2), (12, 2), (4, 0), (9999, 137)])
def test_other_constants_are_added_to_the_next_bias(bias: int, level: int) -> None:
    given = arrays(1, bias)  # bias / 32 / (1/4), half to even; 137 = 127 - zero point
    found = shrink(model(network(POINTWISE), given))
    assert found.report.filters == 1
    want = given["cb"] + level * given["v"][:, 1, 0, 0].astype(np.int32)
    np.testing.assert_array_equal(found.arrays["cb"], want)
    assert found.arrays["cb"].dtype == np.int32


def test_constant_is_added_where_no_border_shows_it() -> None:
    given = arrays(3, 100)
    found = shrink(model(network(UNPADDED), given))
    want = given["cb"] + 12 * given["v"][:, 1].astype(np.int32).sum(axis=(1, 2))
    np.testing.assert_array_equal(found.arrays["cb"], want)
    assert unchanged(model(network(PADDED), given))


def test_bias_that_would_overflow_is_left_alone() -> None:
    given = arrays(1, 100)
    given["v"][0, 1] = 9
    given["cb"][0] = np.iinfo(np.int32).max - 100
    assert unchanged(model(network(POINTWISE), given))


@pytest.mark.parametrize("name", ["sc", "sb"])
def test_bias_of_another_scale_is_not_added_to(name: str) -> None:
    given = arrays(1, 100)
    given[name] = given[name] * np.float32(2)
    proto = model(network(POINTWISE), given)
    if name == "sc":  # the scale of the bias that would be added to
        assert unchanged(proto)
    else:
        assert shrink(proto).report.filters == 1


def test_weights_with_zero_points() -> None:
    given = arrays(1, 100) | {"zw": np.asarray([1, 0, -2, 0], np.int8),
                              "zv": np.asarray([4, 0, -4], np.int8)}  # fmt: skip
    given["w"][2] = -2  # a filter of zeros too, of which b is negative
    found = shrink(model(network(POINTWISE), given))
    assert found.report.filters == 2
    level = 12 * (given["v"][:, 1, 0, 0].astype(np.int32) - given["zv"])
    np.testing.assert_array_equal(found.arrays["cb"], given["cb"] + level)


def test_border_of_a_depthwise_layer_shows_the_constant() -> None:
    between = """kd = DequantizeLinear<axis=0>(k, sk) e = Conv<group=4, pads=[1,1,1,1]>(d, kd)
      f = QuantizeLinear(e, sq, zq) g = DequantizeLinear(f, sq, zq) c = Conv(g, vd, cd)"""
    k = np.ones((4, 1, 3, 3), np.int8)
    given = arrays(1, 100) | {"k": k, "sk": np.full(4, 0.25, np.float32)}
    assert unchanged(model(network(between), given))
    found = shrink(model(network(between.replace("pads=[1,1,1,1]", "pads=[0,0,0,0]")), given))
    assert (found.report.filters, found.report.depthwise) == (2, 1)
    saturated = given | {"sk": np.full(4, 64, np.float32)}  # 127 at the border and inside
    assert shrink(model(network(between), saturated)).report.filters == 2


def test_product_with_the_bias_in_an_add() -> None:
    given = arrays(1, 100)
    given["v"] = np.ascontiguousarray(given["v"][:, :, 0, 0].T)
    second = """p = AveragePool<kernel_shape=[6,6]>(d) t = QuantizeLinear(p, sq, zq)
      u = Reshape(t, flat) s = DequantizeLinear(u, sq, zq)
      vm = DequantizeLinear<axis=1>(v, sv, zv) h = MatMul(s, vm) c = Add(h, cd)"""
    text = network(second).replace("vd = DequantizeLinear<axis=0>(v, sv, zv)", "")
    text = text.replace("int8[1,3,h,w]", "int8[1,3]")
    found = shrink(model(text, given | {"flat": np.asarray([1, 4], np.int64)}))
    assert found.report.filters == 1
    want = given["cb"] + 12 * given["v"][1].astype(np.int32)
    np.testing.assert_array_equal(found.arrays["cb"], want)


def test_channel_scales_of_an_activation_are_cut() -> None:
    second = """e = QuantizeLinear<axis=1>(d, se, ze) f = DequantizeLinear<axis=1>(e, se, ze)
      c = Conv(f, vd, cd)"""
    given = arrays(1, -9) | {"se": np.asarray([0.5, 1, 2, 0.5], np.float32),
                             "ze": np.asarray([1, 2, 3, 4], np.int8)}  # fmt: skip
    found = shrink(model(network(second), given))
    np.testing.assert_array_equal(found.arrays["ze"], [1, 3, 4])


def test_quantized_output_keeps_its_constant_channels() -> None:
    text = network(POINTWISE).replace("y) {", "y, int8[1,4,6,6] q) {")
    assert unchanged(model(text, arrays(1, 100)))


def test_equal_constants_are_stored_once() -> None:
    found = shrink(model(network(POINTWISE), arrays(1, -40)))
    contents = [(t.data_type, tuple(t.dims), t.raw_data) for t in found.model.graph.initializer]
    assert len(contents) == len(set(contents))
    inputs = {name for node in found.model.graph.node for name in node.input}
    assert {t.name for t in found.model.graph.initializer} <= inputs
    onnx.checker.check_model(found.model, full_check=True)
