"""Operators whose stock conversion or lowering is wrong, or easy to get wrong."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from footprint_compiler.frontend import import_model

from .harness import calls, check, model, random, run

INF, NAN = np.inf, np.nan


def test_maximum_of_a_row_of_infinities() -> None:
    x = np.array([[-INF, -INF], [1, INF]], "float32")
    text = """g (float[2,2] x) => (float[2] a, float[2] b) {
        a = ReduceMax <keepdims = 0> (x, axis)
        b = ReduceMin <keepdims = 0> (x, axis)
    }"""
    check(model(text, {"axis": np.array([1], "int64")}), {"x": x})


def test_not_a_number_is_found() -> None:
    x = np.array([NAN, 1, INF, -INF], "float32")
    check(model("g (float[4] x) => (bool[4] a, bool[4] b) { a = IsNaN(x) b = IsInf(x) }"), {"x": x})


def test_exclusive_or_of_booleans() -> None:
    a, b = np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool)
    check(
        model("g (bool[4] a, bool[4] b) => (bool[4] y, bool[4] e) {y = Xor(a, b) e = Equal(a, b)}"),
        {"a": a, "b": b},
    )


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint8"])
def test_integer_division_truncates_and_modulo_follows_python(dtype: str) -> None:
    low = 0 if dtype == "uint8" else -20
    x = np.arange(low, 20).astype(dtype)
    y = np.where(np.arange(x.size) % 2, 3, 7).astype(dtype)
    kind = f"{dtype}[{x.size}]"
    text = f"g ({kind} x, {kind} y) => ({kind} m) {{ m = Mod(x, y) }}"
    check(model(text), {"x": x, "y": y})
    graph_text = text.replace("Mod", "Div")
    got = run(import_model(model(graph_text)), {"x": x, "y": y})["m"]
    np.testing.assert_array_equal(got, np.trunc(x.astype(float) / y).astype(dtype))


@pytest.mark.parametrize("fmod", [0, 1])
def test_modulo_of_floats(fmod: int) -> None:
    x = np.array([5.3, -5.3, 7.0, -7.0, 0.5, -0.1], "float32")
    y = np.array([2.1, 2.1, -3.5, -2.0, -3.0, 3.0], "float32")
    text = f"g (float[6] x, float[6] y) => (float[6] m) {{ m = Mod <fmod = {fmod}> (x, y) }}"
    if fmod == 0:
        got = run(import_model(model(text)), {"x": x, "y": y})["m"]
        np.testing.assert_allclose(got, np.mod(x, y), rtol=1e-6)
    else:
        check(model(text), {"x": x, "y": y})


def test_shifts_by_the_width_and_more() -> None:
    x = np.array([1, 255, 128, 7], "uint8")
    y = np.array([7, 8, 9, 1], "uint8")
    text = """g (uint8[4] x, uint8[4] y) => (uint8[4] a) {
        a = BitShift <direction = "RIGHT"> (x, y)
    }"""
    check(model(text), {"x": x, "y": y})


def test_softplus_and_mish_keep_small_results() -> None:
    x = np.linspace(-30, 30, 241).astype("float32")
    text = "g (float[241] x) => (float[241] a, float[241] b) { a = Softplus(x) b = Mish(x) }"
    got = run(import_model(model(text)), {"x": x})
    soft = np.log1p(np.exp(-np.abs(x.astype("float64")))) + np.maximum(x, 0)
    np.testing.assert_allclose(got["a"], soft, rtol=2e-6)
    np.testing.assert_allclose(got["b"], x * np.tanh(soft), rtol=2e-6, atol=1e-30)


def test_clip_bounds_are_plain_numbers_even_if_computed() -> None:
    text = """g (float[5] x) => (float[5] y) {
        zero = Constant <value: tensor = int64 {0}> ()
        low = Cast <to = 1> (zero)
        y = Clip(x, low, high)
    }"""
    graph = check(model(text, {"high": np.float32(6)}), {"x": random(1, 5) * 5})
    assert calls(graph) == ["relax.clip"]


def test_clip_with_crossed_bounds_gives_the_upper_one() -> None:
    text = "g (float[5] x) => (float[5] y) { y = Clip(x, low, high) }"
    weights = {"low": np.float32(2), "high": np.float32(1)}
    check(model(text, weights), {"x": random(1, 5)})


def test_softmax_before_opset_13_joins_the_last_axes() -> None:
    x = random(2, 2, 3, 4)
    text = "g (float[2,3,4] x) => (float[2,3,4] y) { y = Softmax <axis = 1> (x) }"
    got = run(import_model(model(text, ai_onnx=11)), {"x": x})["y"]
    flat = np.exp(x.reshape(2, 12).astype("float64"))
    want = (flat / flat.sum(1, keepdims=True)).reshape(x.shape)
    np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("include", [0, 1])
def test_average_pool_rounding_up(include: int) -> None:
    text = f"""g (float[1,2,7,6] x) => (float[1,2,a,b] y) {{
        y = AveragePool <kernel_shape = [3,3], strides = [2,2], pads = [1,0,0,1],
                         ceil_mode = 1, count_include_pad = {include}> (x)
    }}"""
    check(model(text), {"x": random(3, 1, 2, 7, 6)})


@pytest.mark.parametrize(
    "pads",
    ["pads = [1,0,2,1]", 'auto_pad = "SAME_LOWER"', "dilations = [2,1]", "output_padding = [1,0]"],
)
def test_transposed_convolution(pads: str) -> None:
    text = f"""g (float[1,4,5,6] x) => (float[1,6,a,b] y) {{
        y = ConvTranspose <strides = [2,2], group = 2, {pads}> (x, w, b)
    }}"""
    weights = {"w": random(4, 4, 3, 3, 2), "b": random(5, 6)}
    proto = model(text, weights)
    x = random(6, 1, 4, 5, 6)
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (want,) = session.run(["y"], {"x": x})
    got = run(import_model(proto), {"x": x})["y"]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_top_k_keeps_the_lower_index_of_equal_values() -> None:
    x = np.array([[3, 1, 3, 2, 3], [0, 0, 0, 0, 0]], "float32")
    text = "g (float[2,5] x) => (float[2,3] v, int64[2,3] i) { v, i = TopK(x, k) }"
    check(model(text, {"k": np.array([3], "int64")}), {"x": x})


def test_gather_with_wrong_run_time_indices_stays_inside() -> None:
    text = "g (float[3] x, int64[4] i) => (float[4] y) { y = Gather(x, i) }"
    x = np.array([1, 2, 3], "float32")
    got = run(import_model(model(text)), {"x": x, "i": np.array([-1, 1, 99, -99], "int64")})["y"]
    np.testing.assert_array_equal(got, [3, 2, 3, 1])


def test_scatter_of_a_box_needs_no_indices() -> None:
    text = "g (float[3,4] x, float[2,2] u) => (float[3,4] y) { y = ScatterND(x, i, u) }"
    places = np.stack(np.meshgrid([1, 2], [0, 1], indexing="ij"), -1).astype("int64")
    graph = check(model(text, {"i": places}), {"x": random(1, 3, 4), "u": random(2, 2, 2)})
    assert calls(graph) == ["replace_box"]


def test_float16_is_computed_in_float32_and_rounded_once() -> None:
    x = (random(8, 4, 300) * 0.1).astype("float16")
    w = random(9, 300, 8).astype("float16")
    text = "g (float16[4,300] x) => (float16[4,8] y) { y = MatMul(x, w) }"
    got = run(import_model(model(text, {"w": w})), {"x": x})["y"]
    want = (x.astype("float64") @ w.astype("float64")).astype("float16")
    assert got.dtype == np.float16
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3)
