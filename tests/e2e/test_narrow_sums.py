"""Layers with channels of huge bias: int32 sums, and the codes of exact arithmetic everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import footprint_compiler as fpc
from footprint_compiler import runners
from footprint_compiler.quant.fixed_point import fixed_point, requantize
from tests.kernels.reference import conv2d, conv2d_transpose

CHANNELS, SIZE = 10, 5
IN_SCALE, IN_ZERO, OUT_SCALE, OUT_ZERO = np.float32(0.04), -9, np.float32(0.1), 5
LOW, HIGH = OUT_ZERO, 127  # a Relu
TINY = 2.0**-31
"""Multiplier of the channels with a huge bias: 2^31 of them are one code."""


@dataclass(frozen=True)
class Layer:
    """One operator with weights whose first axis is the output channel, and int32 biases."""

    operator: str
    weights: np.ndarray
    scale: np.ndarray
    bias: np.ndarray
    attributes: dict[str, Any]

    @property
    def axis(self) -> int:
        return 1 if self.operator != "Conv" else 0

    @property
    def stored(self) -> np.ndarray:
        """As ONNX wants them."""
        return self.weights if self.operator == "Conv" else self.weights.swapaxes(0, 1)


def _layer(operator: str, seed: int, taps: tuple[int, ...], **attributes: Any) -> Layer:
    """Random channels, and two of each kind: saturated both ways, one code, two codes."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(-128, 128, (CHANNELS, *taps)).astype(np.int8)
    weights[::3].flat[::2] = 127
    weights[1::3].flat[::2] = -128
    weights[4] = 0
    scale = rng.uniform(0.001, 0.004, CHANNELS)
    bias = rng.integers(-9000, 9000, CHANNELS)
    scale[2:] = TINY * float(OUT_SCALE) / float(IN_SCALE)
    bias[2:4] = 2**31 - 1, -(2**31)
    bias[4:6] = 2**30 + 12345, 2**30 - 2**27  # 0.5 and a bit: from zero weights, and below a step
    scale[6:8] *= 400 * 2.0**7  # saturated although the weights count
    bias[6:8] = 2**31 - 1, -(2**31)
    scale[8:] = 2.0**-24 * float(OUT_SCALE) / float(IN_SCALE)
    bias[8:] = 2**24 * 70 + 2**23 + 40, 2**24 * 90 + 2**23 - 300  # 70.5 and 90.5
    return Layer(operator, weights, scale.astype(np.float32), bias.astype(np.int32), attributes)


LAYERS = {
    "conv": _layer("Conv", 1, (CHANNELS, 3, 3), pads=[1] * 4),
    "pointwise": _layer("Conv", 2, (CHANNELS, 1, 1)),
    "depthwise": _layer("Conv", 3, (1, 3, 3), group=CHANNELS, pads=[1] * 4),
    "transposed": _layer("ConvTranspose", 4, (CHANNELS, 2, 2), strides=[2, 2]),
    "dense": _layer("MatMul", 5, (CHANNELS,)),
}


def _model() -> onnx.ModelProto:
    """All layers side by side on one input."""
    constants, nodes, outputs = [], [], []

    def constant(array: Any, dtype: str) -> str:
        constants.append(numpy_helper.from_array(np.asarray(array, dtype), f"c{len(constants)}"))
        return f"c{len(constants) - 1}"

    def node(operator: str, *given: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, given, [f"t{len(nodes)}"], **attributes))
        return f"t{len(nodes) - 1}"

    image = node("DequantizeLinear", "x", constant(IN_SCALE, "float32"), constant(IN_ZERO, "int8"))
    last = node("Transpose", image, perm=[0, 2, 3, 1])
    zeros = constant(np.zeros(CHANNELS), "int8"), constant(np.zeros(CHANNELS), "int32")
    for name, layer in LAYERS.items():
        scale = constant(layer.scale, "float32")
        bias_scale = constant(layer.scale * IN_SCALE, "float32")
        w = constant(layer.stored, "int8")
        w = node("DequantizeLinear", w, scale, zeros[0], axis=layer.axis)
        b = node("DequantizeLinear", constant(layer.bias, "int32"), bias_scale, zeros[1], axis=0)
        if layer.operator == "MatMul":
            y = node("Add", node("MatMul", last, w), b)
        else:
            y = node(layer.operator, image, w, b, **layer.attributes)
        ends = constant(OUT_SCALE, "float32"), constant(OUT_ZERO, "int8")
        nodes.append(helper.make_node("QuantizeLinear", [node("Relu", y), *ends], [name]))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.INT8, None))
    shape = (1, CHANNELS, SIZE, SIZE)
    x = helper.make_tensor_value_info("x", TensorProto.INT8, shape)
    graph = helper.make_graph(nodes, "layers", [x], outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _sums(layer: Layer, codes: np.ndarray) -> np.ndarray:
    """Of products, channels last."""
    x = (codes.astype(np.int64) - IN_ZERO).transpose(0, 2, 3, 1)
    w = layer.weights.astype(np.int64)
    if layer.operator == "MatMul":
        return x @ w.T
    if layer.operator == "ConvTranspose":
        return conv2d_transpose(x, w.swapaxes(0, 1), (2, 2))
    pads = tuple(layer.attributes.get("pads", [0] * 4))
    return conv2d(x, w, padding=pads, groups=layer.attributes.get("group", 1))


def _expected(layer: Layer, codes: np.ndarray) -> np.ndarray:
    """By the stated arithmetic of int32 where sums are that small, else in exact numbers."""
    scale = layer.scale.astype(np.float64) * float(IN_SCALE)
    multiplier = scale / float(OUT_SCALE)
    bias_scale = (layer.scale * IN_SCALE).astype(np.float64)
    bias = np.rint(layer.bias * bias_scale / scale).astype(np.int64)
    sums = _sums(layer, codes) + bias
    result = np.empty(sums.shape, np.int64)
    for channel, m in enumerate(multiplier.tolist()):
        if abs(int(bias[channel])) < 2**29:
            result[..., channel] = requantize(sums[..., channel], fixed_point(m))
            continue
        exact = [floor(Fraction(m) * total + Fraction(1, 2)) for total in sums[..., channel].flat]
        result[..., channel] = np.reshape(np.clip(exact, -(2**40), 2**40), sums.shape[:-1])
    result = np.clip(result + OUT_ZERO, LOW, HIGH).astype(np.int8)
    return result if layer.operator == "MatMul" else result.transpose(0, 3, 1, 2)


def _inputs() -> list[np.ndarray]:
    """Random codes, and all of them least, largest or zero."""
    shape = (1, CHANNELS, SIZE, SIZE)
    mixed = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    return [mixed, *(np.full(shape, code, np.int8) for code in (-128, 127, IN_ZERO))]


def _build(target: str, folder: Path) -> fpc.Artifact:
    onnx.save(_model(), folder / "m.onnx")
    options = fpc.BuildOptions(name="layers", solve_nodes=0, shrink=False)
    return fpc.build(folder / "m.onnx", target=target, options=options, out=folder / target)


@pytest.mark.parametrize("target", ["native", "x86-64-v3", "cortex-m4", "cortex-m55", "arm64"])
def test_codes_are_exact(needs_emulator: Any, target: str, tmp_path: Path) -> None:
    local = target in ("native", "x86-64-v3")
    if not local:
        needs_emulator(target)
    artifact = _build(target, tmp_path)
    assert artifact.manifest["integer_macs"] == artifact.manifest["macs"] > 0
    for codes in _inputs():
        if local:
            with fpc.load(artifact) as loaded:
                outputs = loaded.run({"x": codes})
        else:
            outputs = runners.run(artifact, {"x": codes}).outputs
        for name, layer in LAYERS.items():
            np.testing.assert_array_equal(outputs[name], _expected(layer, codes), name)


def test_the_cases_are_what_they_are_for() -> None:
    seen = {
        name: [_expected(layer, codes) for codes in _inputs()] for name, layer in LAYERS.items()
    }
    for name, results in seen.items():
        axis = -1 if name == "dense" else 1
        kinds = [len(np.unique(np.stack(results).take(c, axis + (axis > 0)))) for c in range(10)]
        assert min(kinds[:2]) > 2, name
        assert kinds[2:8] == [1] * 6, name
        assert kinds[8:] == [2, 2], name
