"""Rounding of Q/DQ, the rewrite of quantized operators, and quantized inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime
import pytest

from footprint_compiler.frontend import import_model
from footprint_compiler.frontend.qoperator import rewrite_quantized_operators

from .harness import calls, check, model, run


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
def test_quantize_rounds_half_to_even_and_saturates(dtype: str) -> None:
    scale, zero = np.float32(0.5), np.array(3, dtype)
    halves = np.arange(-300, 300, dtype="float32") * 0.25
    edges = np.array([1e9, -1e9, np.inf, -np.inf, 1e-30, -0.0], "float32")
    x = np.concatenate([halves, edges])
    text = f"g (float[{x.size}] x) => ({dtype}[{x.size}] y) {{ y = QuantizeLinear(x, s, z) }}"
    graph = import_model(model(text, {"s": scale, "z": zero}, ai_onnx=21))
    limits = np.iinfo(dtype)
    want = np.clip(np.rint(x.astype("float64") / 0.5) + 3, limits.min, limits.max).astype(dtype)
    np.testing.assert_array_equal(run(graph, {"x": x})["y"], want)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_dequantize_is_exact_for_every_value(dtype: str) -> None:
    limits = np.iinfo(dtype)
    x = np.arange(limits.min, limits.max + 1).astype(dtype)
    zero = np.array(limits.max - 3, dtype)
    text = f"g ({dtype}[256] x) => (float[256] y) {{ y = DequantizeLinear(x, s, z) }}"
    weights = {"s": np.float32(0.1), "z": zero}
    check(model(text, weights, ai_onnx=21), {"x": x}, rtol=0, atol=0)


def test_per_channel_parameters() -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 4)).astype("float32")
    text = """g (float[2,3,4] x) => (int8[2,3,4] q, float[2,3,4] y) {
        q = QuantizeLinear <axis = 1> (x, s, z)
        y = DequantizeLinear <axis = 1> (q, s, z)
    }"""
    scales = np.array([0.01, 0.02, 0.5], "float32")
    weights = {"s": scales, "z": np.array([0, 5, -7], "int8")}
    check(model(text, weights, ai_onnx=21), {"x": x})


def test_quantized_weights_stay_int8() -> None:
    text = """g (float[2,8] x) => (float[2,8] y) {
        w = DequantizeLinear(q, s)
        y = MatMul(x, w)
    }"""
    weights = {"q": np.eye(8, dtype="int8"), "s": np.float32(0.5)}
    assert "relax.dequantize" in calls(import_model(model(text, weights)))


def test_quantized_inputs_and_outputs_carry_their_parameters() -> None:
    text = """g (int8[1,4] x, float[1,4] f) => (uint8[1,4] y, float[1,4] g) {
        a = DequantizeLinear(x, s, z)
        b = Add(a, f)
        y = QuantizeLinear(b, t, u)
        g = Relu(f)
    }"""
    weights = {
        "s": np.float32(0.25), "z": np.array(-3, "int8"),
        "t": np.float32(0.5), "u": np.array(128, "uint8"),
    }  # fmt: skip
    graph = import_model(model(text, weights))
    assert [(s.scale, s.zero_point) for s in graph.inputs] == [(0.25, -3), (None, None)]
    assert [(s.scale, s.zero_point) for s in graph.outputs] == [(0.5, 128), (None, None)]


def _q(name: str, scale: float, zero: int = 0) -> dict[str, np.ndarray]:
    return {f"{name}_s": np.array(scale, "float32"), f"{name}_z": np.array(zero, "uint8")}


_RNG = np.random.default_rng(5)
_SPATIAL = _q("x", 0.02, 120) | _q("y", 0.03, 100)
OPERATORS: dict[str, tuple[str, dict[str, np.ndarray]]] = {
    "QLinearConv": (
        "y = QLinearConv <pads = [1,1,1,1]> (x, x_s, x_z, w, w_s, w_z, y_s, y_z, b)",
        _q("x", 0.02, 120)
        | _q("y", 0.05, 100)
        | {
            "w": _RNG.integers(-127, 127, (4, 4, 3, 3)).astype("int8"),
            "w_s": np.array([0.01, 0.02, 0.005, 0.01], "float32"),
            "w_z": np.zeros(4, "int8"),
            "b": _RNG.integers(-500, 500, 4).astype("int32"),
        },
    ),
    "QLinearAdd": (
        "y = com.microsoft.QLinearAdd(x, x_s, x_z, x, y_s, x_z, y_s, y_z)",
        _SPATIAL,
    ),
    "QLinearMul": (
        "y = com.microsoft.QLinearMul(x, x_s, x_z, x, y_s, x_z, y_s, y_z)",
        _SPATIAL,
    ),
    "QLinearSigmoid": (
        "y = com.microsoft.QLinearSigmoid(x, x_s, x_z, y_s, y_z)",
        _q("x", 0.05, 128) | _q("y", 1 / 256, 0),
    ),
    "QLinearLeakyRelu": (
        "y = com.microsoft.QLinearLeakyRelu <alpha = 0.1> (x, x_s, x_z, y_s, y_z)",
        _SPATIAL,
    ),
    "QLinearSoftmax": (
        "y = com.microsoft.QLinearSoftmax <axis = 3, opset = 13> (x, x_s, x_z, y_s, y_z)",
        _q("x", 0.05, 128) | _q("y", 1 / 256, 0),
    ),
    "QLinearSoftmax before opset 13": (
        "y = com.microsoft.QLinearSoftmax <axis = 1, opset = 12> (x, x_s, x_z, y_s, y_z)",
        _q("x", 0.05, 128) | _q("y", 1 / 256, 0),
    ),
    "QLinearConcat": (
        "y = com.microsoft.QLinearConcat <axis = 3> (y_s, y_z, x, x_s, x_z, x, y_s, y_z)",
        _SPATIAL,
    ),
    "QLinearAveragePool": (
        "y = com.microsoft.QLinearAveragePool <kernel_shape = [2,2]> (x, x_s, x_z, y_s, y_z)",
        _SPATIAL,
    ),
    "QLinearGlobalAveragePool": (
        "y = com.microsoft.QLinearGlobalAveragePool(x, x_s, x_z, y_s, y_z)",
        _SPATIAL,
    ),
    "QLinearMatMul": (
        "y = QLinearMatMul(x, x_s, x_z, w, w_s, w_z, y_s, y_z)",
        _q("x", 0.02, 120)
        | _q("y", 0.1, 100)
        | {
            "w": _RNG.integers(0, 255, (6, 5)).astype("uint8"),
            "w_s": np.array(0.01, "float32"),
            "w_z": np.array(128, "uint8"),
        },
    ),
}


def _unoptimized(proto: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (result,) = session.run(["y"], dict(inputs))
    return np.asarray(result)


@pytest.mark.parametrize("name", list(OPERATORS))
def test_quantized_operator_within_one_step_of_onnxruntime(name: str) -> None:
    line, weights = OPERATORS[name]
    text = f"g (uint8[1,4,6,6] x) => (uint8[a,b,c,d] y) {{ {line} }}"
    proto = model(text, weights, com_microsoft=1, ai_onnx=13)
    x = np.random.default_rng(9).integers(0, 256, (1, 4, 6, 6)).astype("uint8")
    got = run(import_model(proto), {"x": x})["y"].astype(int)
    want = _unoptimized(proto, {"x": x}).astype(int)
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= 1
    assert np.mean(got != want) < 0.1  # only where the real result lies half way between steps
    assert want.std() > 0


def test_qgemm_with_and_without_a_quantized_result() -> None:
    weights = {
        "w": _RNG.integers(-127, 127, (5, 8)).astype("int8"),
        "w_s": np.linspace(0.005, 0.02, 5).astype("float32"),
        "w_z": np.zeros(5, "int8"),
        "c": _RNG.integers(-300, 300, 5).astype("int32"),
        "x_s": np.array(0.02, "float32"),
        "x_z": np.array(3, "int8"),
        "y_s": np.array(0.05, "float32"),
        "y_z": np.array(-2, "int8"),
    }
    x = _RNG.integers(-128, 128, (2, 8)).astype("int8")
    real = (x.astype("float64") - 3) * 0.02
    want = real @ (weights["w"].T * weights["w_s"]) + weights["c"] * (0.02 * weights["w_s"])
    head = "com.microsoft.QGemm <transB = 1> (x, x_s, x_z, w, w_s, w_z, c"
    plain = model(f"g (int8[2,8] x) => (float[2,5] y) {{ y = {head}) }}", weights, com_microsoft=1)
    np.testing.assert_allclose(run(import_model(plain), {"x": x})["y"], want, rtol=1e-5, atol=1e-5)
    whole = model(
        f"g (int8[2,8] x) => (int8[2,5] y) {{ y = {head}, y_s, y_z) }}", weights, com_microsoft=1
    )
    quantized = np.clip(np.rint(want / 0.05) - 2, -128, 127)
    got = run(import_model(whole), {"x": x})["y"]
    assert np.abs(got - quantized).max() <= 1


def test_integer_products_are_exact() -> None:
    rng = np.random.default_rng(11)
    a, b = rng.integers(0, 256, (3, 700)), rng.integers(-128, 128, (700, 4))
    text = """g (uint8[3,700] a) => (int32[3,4] y) { y = MatMulInteger(a, b, p, q) }"""
    weights = {"b": b.astype("int8"), "p": np.array(77, "uint8"), "q": np.array(-5, "int8")}
    got = run(import_model(model(text, weights)), {"a": a.astype("uint8")})["y"]
    np.testing.assert_array_equal(got, (a - 77) @ (b + 5))


def test_rewrite_leaves_other_models_alone() -> None:
    proto = model("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    assert rewrite_quantized_operators(proto) is proto
