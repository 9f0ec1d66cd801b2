"""What the generators of C kernels read out of a quantized operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from footprint_compiler.kernels.c.operator import Operator
from footprint_compiler.kernels.conv import ConvShape
from footprint_compiler.quant.fixed_point import FRACTION_BITS


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
    if scaling != {"left": scaling["left"], "fraction": FRACTION_BITS, "accumulator": "int32"}:
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


def pair(value: int) -> int:
    """Two lanes of 16 bits that hold ``value``, as an int32."""
    word = (value & 0xFFFF) * 0x10001
    return word - (1 << 32) if word >= 1 << 31 else word
