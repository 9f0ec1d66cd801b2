"""Float layers of all shapes side by side in one ONNX model, and a chain that runs row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.kernels.reference import conv2d, conv2d_bound

SAME = (1, 1, 1, 1)


@dataclass(frozen=True)
class FloatLayer:
    """One layer.

    Attributes:
        name: of the case and of its output.
        image: shape (N, H, W, C) of the input; (M, K) of a matrix product.
        filters: shape (O, C/groups, KH, KW) of the weights; (K, N).
        clip: (low, high) of the output's range; (0, inf) is a Relu.
        residual: whether a second input of the output's shape is added before the range.
        bias: whether there is one.
    """

    name: str
    image: tuple[int, ...]
    filters: tuple[int, ...]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    clip: tuple[float, float] | None = None
    residual: bool = False
    bias: bool = True

    def _random(self, part: int, *shape: int) -> np.ndarray:
        rng = np.random.default_rng([part, *self.image, *self.filters])
        return rng.normal(size=shape).astype(np.float32)

    @property
    def x(self) -> np.ndarray:
        """The input, channels last."""
        return self._random(0, *self.image)

    @property
    def w(self) -> np.ndarray:
        """The weights."""
        return self._random(1, *self.filters)

    @property
    def b(self) -> np.ndarray:
        """The biases."""
        channels = self.filters[0] if len(self.filters) == 4 else self.filters[1]
        return self._random(2, channels) * np.float32(self.bias)

    @property
    def added(self) -> np.ndarray:
        """The second input."""
        return self._random(3, *self._products()[0].shape) * np.float32(self.residual)

    def _products(self) -> tuple[np.ndarray, np.ndarray]:
        x, w = self.x, self.w
        geometry: dict[str, Any] = {}
        if len(self.filters) == 4:
            geometry = {
                "stride": self.stride,
                "padding": self.padding,
                "dilation": self.dilation,
                "groups": self.groups,
            }
        else:
            x, w = x[:, None, None, :], w.T[:, :, None, None]
        return conv2d(x, w, **geometry), conv2d_bound(x, w, **geometry)

    @property
    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """The definition in float64 and the largest error of float32, both (N, H, W, C)."""
        products, bound = self._products()
        total = products + self.b + self.added
        bound += 4 * np.finfo(np.float32).eps * (np.abs(products) + np.abs(self.b) + 1)
        return (total if self.clip is None else np.clip(total, *self.clip)), bound


def _depthwise(
    name: str, image: tuple[int, ...], kernel: tuple[int, int] = (3, 3), **more: Any
) -> FloatLayer:
    return FloatLayer(name, image, (image[3], 1, *kernel), groups=image[3], **more)


RELU, RELU6 = (0.0, np.inf), (0.0, 6.0)
LAYERS = [
    FloatLayer("points", (1, 5, 5, 8), (8, 8, 1, 1), clip=RELU),
    FloatLayer("odd_points", (1, 3, 3, 7), (6, 7, 1, 1), clip=RELU6, bias=False),
    FloatLayer("strided_points", (1, 5, 5, 4), (5, 4, 1, 1), stride=(2, 2)),
    FloatLayer("two_images", (2, 2, 3, 5), (9, 5, 1, 1), residual=True),
    FloatLayer("borders", (1, 6, 9, 5), (7, 5, 3, 3), padding=SAME, clip=RELU),
    FloatLayer("residual", (1, 5, 6, 6), (6, 6, 3, 3), padding=SAME, residual=True, clip=RELU),
    FloatLayer("stride_2", (1, 8, 13, 4), (8, 4, 3, 3), stride=(2, 2), padding=(0, 0, 1, 1)),
    FloatLayer("gathered", (1, 20, 9, 1), (16, 1, 10, 4), stride=(2, 2), padding=(4, 1, 5, 1)),
    FloatLayer("tall_steps", (1, 9, 5, 3), (4, 3, 3, 1), dilation=(3, 1), padding=(2, 0, 2, 0)),
    FloatLayer("dilated", (1, 8, 7, 4), (4, 4, 3, 3), dilation=(2, 2), padding=(2, 2, 2, 2)),
    FloatLayer("a_column", (1, 12, 1, 5), (9, 5, 3, 1), padding=(1, 0, 1, 0), clip=RELU),
    FloatLayer("more_padding", (1, 2, 1, 4), (4, 4, 5, 5), padding=(2, 4, 2, 2)),
    FloatLayer("whole_image", (1, 3, 3, 2), (5, 2, 3, 3), clip=(-0.5, 0.5)),
    FloatLayer("two_channels", (1, 4, 4, 3), (2, 3, 3, 3), padding=SAME),
    FloatLayer("groups", (1, 4, 5, 6), (9, 2, 3, 3), padding=SAME, groups=3),
    FloatLayer("vector", (1, 33), (33, 7), clip=RELU),
    FloatLayer("matrix", (6, 10), (10, 12)),
    _depthwise("channels", (1, 6, 5, 8), padding=SAME, clip=RELU),
    _depthwise("odd_channels", (1, 4, 7, 5), padding=SAME, clip=RELU6),
    _depthwise("no_borders", (1, 5, 6, 7)),
    _depthwise("channels_2", (1, 7, 8, 6), stride=(2, 2), padding=(0, 0, 1, 1), clip=RELU6),
    _depthwise("channels_2_odd", (1, 7, 7, 3), stride=(2, 2), padding=SAME),
    _depthwise("channels_2_inside", (1, 5, 9, 4), stride=(1, 2), clip=RELU),
    _depthwise("rows_below", (1, 8, 5, 3), stride=(2, 2), padding=(1, 1, 2, 1)),
    _depthwise("narrow", (1, 3, 2, 5), padding=SAME, clip=RELU),
    _depthwise("large_kernel", (1, 6, 6, 4), (5, 5), padding=(2, 2, 2, 2), clip=RELU),
    _depthwise("channels_residual", (1, 5, 5, 4), padding=SAME, residual=True),
]


def model_of(layers: list[FloatLayer]) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """The model with an output per layer, channels first as ONNX has it, and its inputs."""
    nodes: list[Any] = []
    constants: list[Any] = []
    inputs: dict[str, np.ndarray] = {}
    outputs: list[Any] = []

    def constant(name: str, array: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(array, name))
        return name

    for layer in layers:
        result = channels_first(layer.result[0])
        shape = list(result.shape) if len(layer.filters) == 4 else list(layer.result[0].shape[::3])
        name, end = layer.name, f"{layer.name}_0"
        inputs[f"{name}_x"] = channels_first(layer.x)
        operands = [f"{name}_x", constant(f"{name}_w", layer.w), constant(f"{name}_b", layer.b)]
        if len(layer.filters) == 4:
            geometry = {
                "strides": list(layer.stride),
                "pads": list(layer.padding),
                "dilations": list(layer.dilation),
                "group": layer.groups,
            }
            nodes.append(helper.make_node("Conv", operands, [end], **geometry))
        else:
            nodes.append(helper.make_node("Gemm", operands, [end]))
        if layer.residual:
            inputs[f"{name}_r"] = channels_first(layer.added)
            nodes.append(helper.make_node("Add", [f"{name}_r", end], [f"{name}_1"]))
            end = f"{name}_1"
        if layer.clip == RELU:
            nodes.append(helper.make_node("Relu", [end], [name]))
        elif layer.clip is not None:
            ends = [constant(f"{name}_{i}_", np.float32(v)) for i, v in enumerate(layer.clip)]
            nodes.append(helper.make_node("Clip", [end, *ends], [name]))
        else:
            nodes[-1].output[0] = name
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    given = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, list(array.shape))
        for name, array in inputs.items()
    ]
    graph = helper.make_graph(nodes, "layers", given, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), inputs


def channels_first(array: np.ndarray) -> np.ndarray:
    """(N, H, W, C) as ONNX has it; anything else as it is."""
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2)) if array.ndim == 4 else array
