"""Normalizations keep their digits where the mean is far larger than the deviation."""

from __future__ import annotations

import numpy as np
import pytest

from footprint_compiler.frontend import import_model
from tests.frontend.harness import model, random, run

MEAN = 1000.0


def standardized(x: np.ndarray, axes: tuple[int, ...], epsilon: float) -> np.ndarray:
    """In float64."""
    wide = x.astype("float64")
    centred = wide - wide.mean(axes, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axes, keepdims=True) + epsilon)


@pytest.mark.parametrize(
    ("operator", "opset", "axes"),
    [
        ("LayerNormalization<axis=1>(x, s, b)", 17, (1, 2)),
        ("InstanceNormalization(x, c, d)", 18, (2,)),
        ("MeanVarianceNormalization<axes=[0,2]>(x)", 13, (0, 2)),
    ],
)
def test_the_mean_does_not_drown_the_deviation(
    operator: str, opset: int, axes: tuple[int, ...]
) -> None:
    constants = {
        "s": np.ones((4, 6), "f4"), "b": np.zeros((4, 6), "f4"),
        "c": np.ones(4, "f4"), "d": np.zeros(4, "f4"),
    }  # fmt: skip
    proto = model(
        f"g (float[2,4,6] x) => (float[2,4,6] y) {{ y = {operator} }}", constants, ai_onnx=opset
    )
    x = random(1, 2, 4, 6) + np.float32(MEAN)
    got = run(import_model(proto), {"x": x})["y"]
    epsilon = 0.0 if operator.startswith("Mean") else 1e-5
    np.testing.assert_allclose(got, standardized(x, axes, epsilon), atol=5e-4)


@pytest.mark.parametrize(("opset", "parameters"), [(18, 2), (21, 4)])
def test_groups_of_channels(opset: int, parameters: int) -> None:
    scale, bias = random(2, parameters), random(3, parameters)
    proto = model(
        """g (float[2,4,3,5] x) => (float[2,4,3,5] y) {
        y = GroupNormalization<num_groups=2>(x, s, b) }""",
        {"s": scale, "b": bias},
        ai_onnx=opset,
    )
    x = random(4, 2, 4, 3, 5) + np.float32(MEAN)
    got = run(import_model(proto), {"x": x})["y"]
    wanted = standardized(x.reshape(2, 2, 30), (2,), 1e-5).reshape(x.shape)
    along = [np.repeat(v, 4 // parameters).reshape(1, 4, 1, 1) for v in (scale, bias)]
    np.testing.assert_allclose(got, wanted * along[0] + along[1], atol=5e-4)


def test_mean_and_inverse_deviation_are_float32_beside_float16() -> None:
    proto = model(
        """g (float16[3,8] x, float16[8] s) => (float16[3,8] y, float[3,1] m, float[3,1] i) {
        y, m, i = LayerNormalization(x, s) }""",
        ai_onnx=17,
    )
    x, scale = random(5, 3, 8).astype("float16"), random(6, 8).astype("float16")
    got = run(import_model(proto), {"x": x, "s": scale})
    assert [got[name].dtype for name in "ymi"] == [np.float16, np.float32, np.float32]
    np.testing.assert_allclose(
        got["y"], standardized(x, (1,), 1e-5) * scale.astype("f8"), rtol=2e-3, atol=1e-3
    )
    np.testing.assert_allclose(got["m"], x.astype("f8").mean(1, keepdims=True), atol=1e-6)
    deviation = np.sqrt(x.astype("f8").var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(got["i"], 1 / deviation, rtol=1e-5)
