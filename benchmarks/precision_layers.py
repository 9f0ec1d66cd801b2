"""Single layers side by side in one model, in float32 or on 8-bit codes: what rates are fitted to.

Sizes are those of no particular network: images of 4 to 24 pixels, 1 to 128 channels. The two forms
have the same layers with the same names; every layer has an input and an output of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SCALE, OUT_SCALE, WEIGHT_SCALE = 0.03, 0.05, 0.004
WIDE = 66_200
"""Terms of a sum of 8-bit products that needs int64."""


@dataclass(frozen=True)
class Layer:
    """One operator.

    Attributes:
        name: without a slash.
        operator: ONNX name.
        image: shape of its input, NCHW or rows.
        weights: shape of its weights; empty for none.
        attributes: of the node.
    """

    name: str
    operator: str
    image: tuple[int, ...]
    weights: tuple[int, ...] = ()
    attributes: tuple[tuple[str, Any], ...] = ()

    @property
    def kind(self) -> str:
        """The first word of its name."""
        return self.name.partition("-")[0]

    @property
    def operands(self) -> int:
        """Elements that it reads, weights left out."""
        return prod(self.image) * (2 if self.operator == "Add" else 1)

    @property
    def result(self) -> tuple[int, ...]:
        """Shape of its output."""
        attributes = dict(self.attributes)
        if self.operator == "MatMul":
            return (self.image[0], self.weights[1])
        if "strides" not in attributes:
            return self.image
        stride = attributes["strides"][0]
        size = -(-self.image[2] // stride)
        channels = self.weights[0] if self.weights else self.image[1]
        return (self.image[0], channels, size, size)

    @property
    def macs(self) -> int:
        """Products."""
        if not self.weights:
            return 0
        if self.operator == "MatMul":
            return prod(self.image) * self.weights[1]
        return prod(self.result) * prod(self.weights[1:])


def _conv(size: int, channels: int, out: int, kernel: int, stride: int = 1) -> Layer:
    pads = [kernel // 2] * 4
    attributes = (("pads", pads), ("strides", [stride] * 2))
    name = f"conv-{kernel}-{stride}-{size}-{channels}-{out}"
    image, weights = (1, channels, size, size), (out, channels, kernel, kernel)
    return Layer(name, "Conv", image, weights, attributes)


def _depthwise(size: int, channels: int, kernel: int, stride: int = 1) -> Layer:
    pads = [kernel // 2] * 4
    attributes = (("pads", pads), ("strides", [stride] * 2), ("group", channels))
    name = f"depthwise-{kernel}-{stride}-{size}-{channels}"
    image, weights = (1, channels, size, size), (channels, 1, kernel, kernel)
    return Layer(name, "Conv", image, weights, attributes)


def _dense(depth: int, out: int) -> Layer:
    return Layer(f"dense-{depth}-{out}", "MatMul", (1, depth), (depth, out))


def _pool(operator: str, size: int, channels: int, kernel: int) -> Layer:
    attributes = (("kernel_shape", [kernel] * 2), ("strides", [kernel] * 2))
    return Layer(f"pool-{operator}-{kernel}", operator, (1, channels, size, size), (), attributes)


LAYERS = (
    *(_conv(*sizes, 1) for sizes in ((16, 16, 32), (12, 32, 32), (14, 24, 40), (8, 64, 64))),
    *(_conv(*sizes, 1) for sizes in ((6, 64, 128), (4, 128, 128), (20, 8, 16), (10, 48, 24))),
    *(_conv(*sizes, 3, 2) for sizes in ((16, 16, 32), (12, 32, 48), (10, 40, 24))),
    _conv(8, 16, 24, 5),
    *(_conv(*sizes, 3) for sizes in ((20, 8, 8), (16, 16, 16), (12, 32, 32), (8, 64, 64))),
    *(_conv(*sizes, 3, 2) for sizes in ((24, 3, 8), (22, 3, 16), (18, 1, 16))),
    *(_depthwise(*sizes, 3) for sizes in ((20, 8), (16, 16), (12, 32), (8, 64), (6, 128))),
    *(_depthwise(*sizes) for sizes in ((16, 32, 3, 2), (12, 64, 3, 2), (8, 32, 5, 1))),
    *(_dense(*sizes) for sizes in ((64, 32), (256, 64), (640, 128), (128, 128), (200, 10))),
    _pool("MaxPool", 16, 32, 2),
    _pool("AveragePool", 12, 32, 2),
    _pool("AveragePool", 8, 64, 8),
    Layer("add-1", "Add", (1, 32, 16, 16)),
    Layer("add-2", "Add", (1, 64, 8, 8)),
    Layer("table-1", "Sigmoid", (1, 32, 12, 12)),
    Layer("table-2", "Tanh", (1, 64, 8, 8)),
)

ONLY_IN_CODES = (
    *(Layer(f"encode-{n}", "QuantizeLinear", (1, n, 64)) for n in (40, 160)),
    *(Layer(f"decode-{n}", "DequantizeLinear", (1, n, 64)) for n in (40, 160)),
    replace(_dense(WIDE, 16), name="wide"),
)


def model_of(layers: tuple[Layer, ...], codes: bool) -> onnx.ModelProto:
    """All ``layers``, each with inputs NAME/0 (and NAME/1) and an output of its own."""
    builder = _Builder(codes)
    for layer in layers:
        builder.add(layer)
    graph = helper.make_graph(
        builder.nodes, "layers", builder.inputs, builder.outputs, builder.constants
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class _Builder:
    def __init__(self, codes: bool) -> None:
        self.codes = codes
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.rng = np.random.default_rng(0)
        self.ends = {
            scale: (self._constant(scale, "float32"), self._constant(0, "int8"))
            for scale in (SCALE, OUT_SCALE)
        }

    def add(self, layer: Layer) -> None:
        if layer.kind in ("encode", "decode"):
            encode = layer.kind == "encode"
            value = self._input(layer, f"{layer.name}/0", not encode)
            self._output(self._node(layer.operator, layer, value, *self._in), encode)
            return
        names = [f"{layer.name}/{i}" for i in range(2 if layer.operator == "Add" else 1)]
        given = [self._input(layer, name, self.codes) for name in names]
        if self.codes:
            given = [self._node("DequantizeLinear", layer, name, *self._in) for name in given]
        given += self._weights(layer)
        value = self._node(layer.operator, layer, *given, **dict(layer.attributes))
        if layer.weights:
            value = self._node("Relu", layer, value)
        if self.codes:
            value = self._node("QuantizeLinear", layer, value, *self._ends(layer))
        self._output(value, self.codes)

    def _ends(self, layer: Layer) -> tuple[str, str]:
        """Of its output: a maximum needs no scale of its own."""
        return self.ends[SCALE if layer.operator == "MaxPool" else OUT_SCALE]

    @property
    def _in(self) -> tuple[str, str]:
        return self.ends[SCALE]

    def _weights(self, layer: Layer) -> list[str]:
        if not layer.weights:
            return []
        values = self.rng.integers(-127, 128, layer.weights)
        if layer.kind == "wide":
            values = np.full(layer.weights, 127)
        if not self.codes:
            return [self._constant(values * WEIGHT_SCALE, "float32")]
        axis = 1 if layer.operator == "MatMul" else 0
        count = layer.weights[axis]
        scale = self._constant(np.full(count, WEIGHT_SCALE), "float32")
        parts = self._constant(values, "int8"), scale, self._constant(np.zeros(count), "int8")
        return [self._node("DequantizeLinear", layer, *parts, axis=axis)]

    def _constant(self, array: Any, dtype: str) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def _node(self, operator: str, layer: Layer, *given: str, **attributes: Any) -> str:
        name = f"{layer.name}/{operator}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, given, [name], name, **attributes))
        return name

    def _input(self, layer: Layer, name: str, codes: bool) -> str:
        dtype = TensorProto.INT8 if codes else TensorProto.FLOAT
        self.inputs.append(helper.make_tensor_value_info(name, dtype, layer.image))
        return name

    def _output(self, name: str, codes: bool) -> None:
        dtype = TensorProto.INT8 if codes else TensorProto.FLOAT
        self.outputs.append(helper.make_tensor_value_info(name, dtype, None))
