"""What the generators of C kernels read out of a quantized operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from footprint_compiler.kernels.c.operator import Operator
from footprint_compiler.kernels.conv import ConvShape
from footprint_compiler.quant.fixed_point import FRACTION_BITS

Rings = Mapping[int, int]
"""Parameter index -> rows of its ring; whole tensors left out."""


@dataclass(frozen=True)
class Codes:
    """The quantized tensor that a layer writes, and the zero point of the one that it reads."""

    zero_point: int
    left: int
    out_zero: int
    low: int
    high: int

    @property
    def clamps(self) -> bool:
        """Whether the range is narrower than int8."""
        return (self.low, self.high) != (-128, 127)

    @property
    def features(self) -> set[str]:
        """Switches of the templates."""
        return {"clamp"} if self.clamps else set()


def codes_of(operator: Operator) -> Codes | None:
    """The codes of an int8 layer; None for other types."""
    output: Mapping[str, Any] = operator.arguments["output"]
    scaling: Mapping[str, Any] = operator.arguments["scaling"]
    if set(output) != {"zero_point", "low", "high", "dtype"}:
        return None
    if output["dtype"] != "int8" or operator.dtypes[0] != "int8":
        return None
    if (scaling["fraction"], scaling["accumulator"]) != (FRACTION_BITS, "int32"):
        return None
    return Codes(
        operator.arguments["zero_point"],
        scaling["left"],
        output["zero_point"],
        output["low"],
        output["high"],
    )


def conv_shape(operator: Operator) -> ConvShape:
    """Sizes of a ``quantized_conv2d``."""
    arguments = operator.arguments
    batch, height, width, channels = operator.shapes[0]
    _, out_height, out_width, out_channels = operator.shapes[-1]
    kernel = operator.shapes[1][2:]
    return ConvShape(
        batch,
        height,
        width,
        channels,
        out_height,
        out_width,
        out_channels,
        (kernel[0], kernel[1]),
        tuple(arguments["stride"]),
        tuple(arguments["dilation"]),
        tuple(arguments["padding"]),
        int(arguments["groups"]),
    )


@dataclass(frozen=True)
class Linear:
    """A layer that multiplies windows of its input by constant weights.

    Attributes:
        shape: of one group, or depthwise.
        codes: of the input and the output.
        matrix: the weights as they are given -> (output channels, taps in the order of memory).
    """

    shape: ConvShape
    codes: Codes
    matrix: Callable[[np.ndarray], np.ndarray]

    @property
    def depth(self) -> int:
        """Products in a sum."""
        return prod(self.shape.kernel) * self.shape.in_channels // self.shape.groups

    @property
    def depthwise(self) -> bool:
        """Whether every channel is a group."""
        return self.shape.groups > 1


def read_conv2d(operator: Operator) -> Linear | None:
    """A ``quantized_conv2d`` with one group, or with one for each channel; None for others."""
    if not operator.has_exactly(
        "stride", "padding", "dilation", "groups", "zero_point", "scaling", "output"
    ):
        return None
    codes, shape = codes_of(operator), conv_shape(operator)
    if codes is None or operator.dtypes[1] != "int8":
        return None
    if shape.groups not in (1, shape.in_channels) or shape.in_channels == 0:
        return None
    if shape.groups > 1 and (shape.in_channels != shape.out_channels or shape.dilation != (1, 1)):
        return None
    return Linear(shape, codes, _taps)


def read_matmul(operator: Operator) -> Linear | None:
    """A ``quantized_matmul``: rows times constant (K, N), as a kernel of 1 x 1 over a row."""
    if not operator.has_exactly("zero_point", "scaling", "output"):
        return None
    codes = codes_of(operator)
    if codes is None or operator.dtypes[1] != "int8" or len(operator.shapes[1]) != 2:
        return None
    rows, (depth, columns) = prod(operator.shapes[0][:-1]), operator.shapes[1]
    shape = ConvShape(1, 1, rows, depth, 1, rows, columns, (1, 1))
    return Linear(shape, codes, np.transpose)


def _taps(weights: np.ndarray) -> np.ndarray:
    """OIHW -> (O, H W I), the order in which windows of NHWC are read."""
    return weights.transpose(0, 2, 3, 1).reshape(len(weights), -1)


def along_rows(shape: ConvShape) -> ConvShape:
    """A column of pixels is the same memory as a row of them, and rows are worked on in pairs."""
    upright = shape.in_width == 1 and shape.kernel[1] == 1 and shape.padding[1::2] == (0, 0)
    if not upright or shape.in_height == 1:
        return shape
    top, left, bottom, right = shape.padding
    return replace(
        shape,
        in_height=1,
        in_width=shape.in_height,
        out_height=1,
        out_width=shape.out_height,
        kernel=(1, shape.kernel[0]),
        stride=(1, shape.stride[0]),
        dilation=(1, shape.dilation[0]),
        padding=(left, top, right, bottom),
    )


def window_fields(shape: ConvShape, rings: Rings | None, output: int) -> dict[str, int]:
    """Sizes of tensors and windows; ``output`` is the parameter index of the output."""
    out_rows = (rings or {}).get(output, shape.out_height)
    return {**image_fields(shape, rings), "out_rows": out_rows}


def image_fields(shape: ConvShape, rings: Rings | None) -> dict[str, int]:
    """The same but for the rows that the output's storage holds."""
    return {
        "height": shape.in_height,
        "rows": (rings or {}).get(0, shape.in_height),
        "width": shape.in_width,
        "channels": shape.in_channels,
        "out_height": shape.out_height,
        "out_width": shape.out_width,
        "out_channels": shape.out_channels,
        "kernel_height": shape.kernel[0],
        "kernel_width": shape.kernel[1],
        "stride_height": shape.stride[0],
        "stride_width": shape.stride[1],
        "dilation_height": shape.dilation[0],
        "dilation_width": shape.dilation[1],
        "top": shape.padding[0],
        "left": shape.padding[1],
    }


def code_fields(codes: Codes, zero: int) -> dict[str, int]:
    """Zero points and range; ``zero`` is the input's in the form that the function takes."""
    return {"zero": zero, "out_zero": codes.out_zero, "low": codes.low, "high": codes.high}


def is_points(shape: ConvShape, rings: Rings | None) -> bool:
    """Whether a kernel of 1 x 1 runs over one row of pixels."""
    single = shape.out_height == 1 or rings is not None
    return shape.kernel == (1, 1) and single and not any(shape.padding)


def is_same_place(shape: ConvShape, rings: Rings | None) -> bool:
    """Whether a kernel of 1 x 1 may write each pixel over the one that it reads."""
    still = shape.stride == (1, 1) and shape.in_channels == shape.out_channels
    return is_points(shape, rings) and still


def row_features(rings: Rings | None) -> frozenset[str]:
    """Switches of the templates for kernels of one output row."""
    if rings is None:
        return frozenset()
    return frozenset({"by_row", "rings"} if 0 in rings else {"by_row"})


def same_image(shape: ConvShape) -> bool:
    """Whether each output element may lie where the input's element of the same number was.

    Rows are expanded as a whole before an output row that needs them is written, and row r or a
    later one is among them; so shapes agree, or there are fewer rows, or one shorter row.
    """
    if shape.in_height == shape.out_height == 1:
        sizes = shape.out_width <= shape.in_width
    else:
        sizes = shape.out_width == shape.in_width and shape.out_height <= shape.in_height
    return sizes and shape.stride == (1, 1) and shape.padding[0] < shape.kernel[0]


def pair(value: int) -> int:
    """Two lanes of 16 bits that hold ``value``, as an int32."""
    word = (value & 0xFFFF) * 0x10001
    return word - (1 << 32) if word >= 1 << 31 else word
