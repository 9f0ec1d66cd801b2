"""Random quantized layers side by side in one model, as one quantizer or another writes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from footprint_compiler.validation.exact import ExactModel

KINDS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "uint16": (0, 65535)}
SMOOTH = ("Sigmoid", "Tanh", "HardSwish", "Gelu", "Elu", "Softplus", "Mish", "LeakyRelu", "Relu")


@dataclass
class Net:
    """Layers that are being collected.

    Attributes:
        results: float tensors before quantization, and the dtype that each gets.
        interpolated: those of functions of 16-bit tensors.
    """

    seed: int
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    interpolated: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def constant(self, array: Any, dtype: str = "float32") -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def node(self, operator: str, *inputs: str, outputs: int = 1, **attrs: Any) -> str:
        """The (first) output of a new node; several are called NAME, NAME_1, ..."""
        name = f"t{len(self.nodes)}"
        names = [name, *(f"{name}_{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(operator, list(inputs), names, name, **attrs))
        return name

    def given(self, shape: tuple[int, ...], kind: str = "") -> str:
        """A new input, dequantized."""
        kind = kind or str(self.rng.choice(["int8", "uint8"]))
        low, high = KINDS[kind]
        zero = int(self.rng.integers(low // 2, high // 2 + 1)) if low else high // 2 + 9
        name = f"x{len(self.inputs)}"
        codes = self.rng.integers(low, high + 1, shape)
        codes.flat[::7] = low
        codes.flat[1::9] = high
        self.inputs[name] = codes.astype(kind)
        scale = self.rng.uniform(2, 5) / (high - low)
        parameters = self.constant(scale), self.constant(zero, kind)
        return self.node("DequantizeLinear", name, *parameters)

    def weights(self, shape: tuple[int, ...], axis: int, kind: str = "") -> str:
        """Constants of 8 or 4 bits, with one zero point or several."""
        kind = kind or str(self.rng.choice(["int8", "uint8", "asymmetric", "per tensor", "int4"]))
        count = () if kind == "per tensor" else (shape[axis],)
        scale = self.constant(self.rng.uniform(0.002, 0.02, count))
        if kind == "int4":
            codes = self.rng.integers(-8, 8, shape)
            zero = self._four_bits(np.zeros(count, int))
            return self.node("DequantizeLinear", self._four_bits(codes), scale, zero, axis=axis)
        dtype = "uint8" if kind in ("uint8", "asymmetric") else "int8"
        zero = self.rng.integers(100, 150, count) if kind == "asymmetric" else np.zeros(count)
        zero = np.full(count, 128) if kind == "uint8" else zero
        low, high = KINDS[dtype]
        codes = self.rng.integers(low, high + 1, shape)
        parameters = scale, self.constant(zero, dtype)
        attrs = {} if kind == "per tensor" else {"axis": axis}
        return self.node("DequantizeLinear", self.constant(codes, dtype), *parameters, **attrs)

    def _four_bits(self, codes: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        packed = numpy_helper.from_array(codes.astype(ml_dtypes.int4), name)
        self.constants.append(packed)
        return name

    def model(self) -> onnx.ModelProto:
        """Every result quantized so that the numbers of this input use its codes."""
        ranges = ExactModel(self._model(self.results, {})).run(list(self.results), self.inputs)
        nodes, outputs = list(self.nodes), {}
        for name, kind in self.results.items():
            low, high = KINDS[kind]
            ends = np.append(ranges[name], 0.0)  # zero has a code in every quantizer
            scale = float(np.ptp(ends)) / (high - low) * 0.97
            zero = int(np.clip(np.rint(low - ends.min() / scale), low, high))
            quantized = f"{name}_q"
            parameters = self.constant(scale), self.constant(zero, kind)
            self.nodes.append(helper.make_node("QuantizeLinear", [name, *parameters], [quantized]))
            outputs[quantized] = kind
        model = self._model({}, outputs)
        self.nodes = nodes
        return model

    def _model(self, real: Any, codes: dict[str, str]) -> onnx.ModelProto:
        info = helper.make_tensor_value_info
        inputs = [
            info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in self.inputs.items()
        ]
        outputs = [info(name, TensorProto.FLOAT, None) for name in real]
        outputs += [
            info(name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), None)
            for name, kind in codes.items()
        ]
        graph = helper.make_graph(self.nodes, "layers", inputs, outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def _windows(net: Net) -> dict[str, Any]:
    rng = net.rng
    return {
        "kernel_shape": [int(k) for k in rng.integers(1, 4, 2)],
        "strides": [int(s) for s in rng.integers(1, 3, 2)],
        "pads": [int(rng.integers(0, 2))] * 4,
    }


def conv(net: Net, kind: str) -> str:
    groups = int(net.rng.choice([1, 1, 2, 6]))
    out, window = 6 * int(net.rng.integers(1, 4)), _windows(net)
    x = net.given((1, 6, 7, 8), kind)
    w = net.weights((out, 6 // groups, *window["kernel_shape"]), 0)
    bias = net.constant(net.rng.normal(0, 0.3, out))
    y = net.node("Conv", x, w, bias, group=groups, **window)
    return net.node("Relu", y) if net.rng.integers(2) else y


def transposed(net: Net, kind: str) -> str:
    window = _windows(net)
    window["pads"] = [0] * 4
    x = net.given((1, 4, 5, 3), kind)
    w = net.weights((4, 6, *window["kernel_shape"]), 1)
    return net.node("ConvTranspose", x, w, **window)


def dense(net: Net, kind: str) -> str:
    depth, out = (int(n) for n in net.rng.integers(1, 40, 2))
    x = net.given((3, depth), kind)
    bias = net.constant(net.rng.normal(0, 0.5, out))
    return net.node("Gemm", x, net.weights((out, depth), 0), bias, transB=1)


def attention(net: Net, kind: str) -> str:
    a, b = net.given((2, 5, 9), kind), net.given((2, 7, 9))
    y = net.node("MatMul", a, net.node("Transpose", b, perm=[0, 2, 1]))
    return net.node("Div", y, net.constant(3.0)) if net.rng.integers(2) else y


def pair(net: Net, kind: str) -> str:
    shapes = [((2, 3, 4, 5), (2, 3, 4, 5)), ((2, 3, 4, 5), (3, 1, 1)), ((1, 4), (3, 1))]
    one, two = shapes[int(net.rng.integers(3))]
    return net.node(
        str(net.rng.choice(["Add", "Sub", "Mul"])), net.given(one, kind), net.given(two)
    )


def with_constant(net: Net, kind: str) -> str:
    x = net.given((2, 3, 4), kind)
    c = net.constant(net.rng.uniform(0.2, 2, (3, 1)))
    if net.rng.integers(3) == 0:
        return net.node("PRelu", x, c)
    return net.node(str(net.rng.choice(["Add", "Mul", "Div", "Sub"])), x, c)


def average(net: Net, kind: str) -> str:
    window = _windows(net)
    window["kernel_shape"] = [2, 3]
    include = int(net.rng.integers(2))
    return net.node(
        "AveragePool", net.given((1, 3, 7, 8), kind), count_include_pad=include, **window
    )


def mean(net: Net, kind: str) -> str:
    x = net.given((2, 3, 4, 5), kind)
    if net.rng.integers(2):
        return net.node("GlobalAveragePool", x)
    axes = sorted(int(a) for a in net.rng.choice(4, int(net.rng.integers(1, 4)), replace=False))
    return net.node("ReduceMean", x, net.constant(axes, "int64"), keepdims=int(net.rng.integers(2)))


def picked(net: Net, kind: str) -> str:
    x = net.given((1, 8, 4, 6), kind)
    empty, which = "", int(net.rng.integers(6))
    if which == 0:
        scales = net.constant([1, 1, 2, 1.5])
        return net.node("Resize", x, empty, scales, mode="nearest")
    if which == 1:
        return net.node("DepthToSpace", x, blocksize=2)
    if which == 2:
        return net.node("Gather", x, net.constant([3, 0, 0], "int64"), axis=1)
    if which == 3:
        first = net.node("Split", x, outputs=2, axis=1, num_outputs=2)
        return net.node("Add", first, f"{first}_1")
    if which == 4:
        return net.node("ReduceMax", x, net.constant([2], "int64"))
    return net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)


def moved(net: Net, kind: str) -> str:
    parts = [net.given((1, n, 4, 2), kind) for n in (2, 3)]
    y = net.node("Concat", *parts, axis=1)
    y = net.node("Transpose", y, perm=[0, 2, 3, 1])
    return net.node("Pad", y, net.constant([0, 1, 0, 0, 0, 0, 2, 0], "int64"))


def function(net: Net, kind: str) -> str:
    return net.node(str(net.rng.choice(SMOOTH)), net.given((3, 50), kind))


def softmax(net: Net, kind: str) -> str:
    return net.node("Softmax", net.given((3, 21), kind if "8" in kind else "int8"), axis=-1)


def interpolated(net: Net, kind: str) -> str:
    x = net.given((1, 5, 4, 6), kind if "8" in kind else "uint8")
    scales = net.constant([1, 1, 2, 1.7])
    mode = str(net.rng.choice(["linear", "cubic"]))
    return net.node("Resize", x, "", scales, mode=mode)


def layer_norm(net: Net, kind: str) -> str:
    x = net.given((2, 3, 24), kind)
    gamma, beta = (net.constant(net.rng.normal(1, 0.3, 24)) for _ in range(2))
    return net.node("LayerNormalization", x, gamma, beta, axis=-1)


LAYERS: tuple[Callable[[Net, str], str], ...] = (
    conv, conv, conv, conv, transposed, dense, dense, attention, pair, pair, with_constant,
    with_constant, average, average, mean, mean, picked, picked, moved, function, function, softmax,
    layer_norm, layer_norm, interpolated, interpolated,
)  # fmt: skip


def random_layers(seed: int) -> Net:
    """One of each, with 8-bit and 16-bit inputs and outputs."""
    net = Net(seed)
    for layer in LAYERS:
        sixteen = net.rng.integers(3) == 0
        kind = str(net.rng.choice(["int16", "uint16"] if sixteen else ["int8", "uint8"]))
        result = layer(net, kind)
        narrow = layer in (softmax, interpolated) or net.rng.integers(3) == 0
        if layer is function and sixteen:
            net.interpolated.add(result)
        net.results[result] = str(net.rng.choice(["int8", "uint8"])) if narrow else kind
    return net
