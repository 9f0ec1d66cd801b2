"""Int8 kernels for Armv7E-M and the DSP extension of Armv8-M: Cortex-M4, M7, M33.

SMLAD multiplies two pairs of 16-bit values; SXTB16 makes such pairs of bytes 0 and 2, or 1 and 3,
of a word. Weights and activations are both unpacked like that, so no pair is ever shuffled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from footprint_compiler.kernels.c.kernel import CKernel, Pack
from footprint_compiler.kernels.c.layer import Codes, codes_of, conv_shape, pair
from footprint_compiler.kernels.c.operator import Operator
from footprint_compiler.kernels.c.weights import WORD, scaled, sized, words
from footprint_compiler.kernels.conv import ConvShape

Rings = Mapping[int, int]
"""Parameter index -> rows of its ring; whole tensors left out. Empty: the whole operator."""


def conv2d(operator: Operator, rings: Rings | None = None) -> CKernel | None:
    """A convolution, depthwise or with one group; None for others."""
    if not operator.has_exactly(
        "stride", "padding", "dilation", "groups", "zero_point", "scaling", "output"
    ):
        return None
    codes, shape = codes_of(operator), conv_shape(operator)
    if codes is None or operator.dtypes[1] != "int8":
        return None
    if rings is not None and shape.batch != 1:
        return None
    if shape.groups == shape.in_channels == shape.out_channels and shape.groups > 1:
        return _depthwise(shape, codes, rings)
    if shape.groups != 1:
        return None
    single = shape.batch * shape.out_height * shape.out_width == 1
    if single and rings is None and shape.kernel == (shape.in_height, shape.in_width):
        return _dense(1, shape.in_height * shape.in_width * shape.in_channels, codes, _rows(shape))
    return _convolution(shape, codes, rings)


def matmul(operator: Operator, rings: Rings | None = None) -> CKernel | None:
    """Rows of an activation times constant weights (K, N)."""
    if rings is not None or not operator.has_exactly("zero_point", "scaling", "output"):
        return None
    codes = codes_of(operator)
    if codes is None or operator.dtypes[1] != "int8" or len(operator.shapes[1]) != 2:
        return None
    rows, (depth, columns) = prod(operator.shapes[0][:-1]), operator.shapes[1]
    if rows == 1:
        return _dense(1, depth, codes, _Rows(columns, lambda weights: weights.T))
    shape = ConvShape(1, 1, rows, depth, 1, rows, columns, (1, 1))
    return _convolution(shape, codes, None, lambda weights: weights.T)


class _Rows:
    """Weights as a matrix (output channels, taps)."""

    def __init__(self, channels: int, matrix: Callable[[np.ndarray], np.ndarray]) -> None:
        self.channels = channels
        self.matrix = matrix


def _rows(shape: ConvShape) -> _Rows:
    return _Rows(shape.out_channels, _taps)


def _taps(weights: np.ndarray) -> np.ndarray:
    """OIHW -> (O, H W I), the order in which windows of NHWC are read."""
    return weights.transpose(0, 2, 3, 1).reshape(len(weights), -1)


def _interleaved(together: int, left: int, matrix: Callable[[np.ndarray], np.ndarray]) -> Pack:
    """shift, then by ``together`` channels: biases, words of four weights by turns, multipliers."""

    def pack(constants: Sequence[np.ndarray]) -> np.ndarray:
        weights, bias, mantissa = constants
        shift, multiplier = scaled(mantissa, left)
        taps = words(sized(sized(matrix(weights), 0, together), 1, 4))
        blocks = (
            taps.reshape(-1, together, taps.shape[1])
            .transpose(0, 2, 1)
            .reshape(-1, taps.shape[1] * together)
        )
        sides = [sized(side, 0, together).reshape(-1, together) for side in (bias, multiplier)]
        body = np.concatenate([sides[0], blocks, sides[1]], axis=1)
        return np.concatenate([[shift], body.ravel()]).astype(WORD)

    return pack


def _convolution(
    shape: ConvShape,
    codes: Codes,
    rings: Rings | None,
    matrix: Callable[[np.ndarray], np.ndarray] = _taps,
) -> CKernel | None:
    flat = shape.flattened() if rings is None else shape
    points = flat.kernel == (1, 1) and not any(flat.padding)
    if points and rings is None and flat.out_height > 1:
        points = False
    if flat.batch != 1:
        return None
    depth = prod(flat.kernel) * flat.in_channels
    groups = -(-depth // 4)
    run_bytes = flat.in_channels % 4 != 0
    features = codes.features
    features |= {"points"} if points else {"bytes"} if run_bytes else {"windows"}
    features |= {"tails"} if depth % 4 else set()
    rows = {} if rings is None else rings
    features |= {"rings"} if 0 in rows and not points else set()
    layer = {
        "height": flat.in_height,
        "rows": rows.get(0, flat.in_height),
        "width": flat.in_width,
        "channels": flat.in_channels,
        "out_height": flat.out_height,
        "out_rows": rows.get(4, flat.out_height),
        "out_width": flat.out_width,
        "out_channels": flat.out_channels,
        "kernel_height": flat.kernel[0],
        "kernel_width": flat.kernel[1],
        "stride_height": flat.stride[0],
        "stride_width": flat.stride[1],
        "dilation_height": flat.dilation[0],
        "dilation_width": flat.dilation[1],
        "top": flat.padding[0],
        "left": flat.padding[1],
        "groups": groups,
        "zero": pair(-codes.zero_point),
        "out_zero": codes.out_zero,
        "low": codes.low,
        "high": codes.high,
    }
    same = flat is not shape and flat.in_channels == flat.out_channels
    return CKernel(
        "conv2d",
        "dsp_conv",
        "conv_points" if points else "conv_rows",
        layer,
        inputs=(0,),
        constants=(1, 2, 3),
        pack=_interleaved(2, codes.left, matrix),
        features=frozenset(features),
        scratch_bytes=16 * groups + (-(-depth // 4) * 4 if run_bytes and not points else 0),
        in_place=(0,) if same else (),
        macs=shape.macs,
        by_row=rings is not None,
    )


def _dense(count: int, depth: int, codes: Codes, rows: _Rows) -> CKernel:
    groups = -(-depth // 4)
    layer = {
        "rows": count,
        "depth": depth,
        "columns": rows.channels,
        "groups": groups,
        "zero": pair(-codes.zero_point),
        "out_zero": codes.out_zero,
        "low": codes.low,
        "high": codes.high,
    }
    return CKernel(
        "dense",
        "dsp_dense",
        "dense",
        layer,
        inputs=(0,),
        constants=(1, 2, 3),
        pack=_interleaved(4, codes.left, rows.matrix),
        features=frozenset(codes.features | ({"tails"} if depth % 4 else set())),
        scratch_bytes=8 * groups,
        macs=count * depth * rows.channels,
    )


def _depthwise(shape: ConvShape, codes: Codes, rings: Rings | None) -> CKernel | None:
    if shape.batch != 1 or shape.dilation != (1, 1):
        return None
    macs = shape.macs
    if rings is None:
        shape = _along_rows(shape)
    rows = {} if rings is None else rings
    height, width = shape.kernel
    columns = max(
        shape.padding[1] + shape.in_width, (shape.out_width - 1) * shape.stride[1] + width
    )
    features = codes.features | {f"rows{height}"}
    features |= {"tails"} if shape.in_channels % 4 else set()
    pairs = shape.kernel == (3, 3) and shape.stride[1] <= 2
    features |= {f"pairs{shape.stride[1]}"} if pairs else set()
    features |= {"rings"} if 0 in rows else set()
    layer = {
        "height": shape.in_height,
        "rows": rows.get(0, shape.in_height),
        "width": shape.in_width,
        "channels": shape.in_channels,
        "out_height": shape.out_height,
        "out_rows": rows.get(4, shape.out_height),
        "out_width": shape.out_width,
        "kernel_height": height,
        "kernel_width": width,
        "stride_height": shape.stride[0],
        "stride_width": shape.stride[1],
        "top": shape.padding[0],
        "left": shape.padding[1],
        "pitch": 2 * columns,
        "pairs": int(pairs),
        "zero": pair(-codes.zero_point),
        "out_zero": codes.out_zero,
        "low": codes.low,
        "high": codes.high,
    }
    same = (shape.in_height, shape.in_width) == (shape.out_height, shape.out_width)
    centred = shape.stride == (1, 1) and shape.padding[0] < height
    return CKernel(
        "depthwise",
        "dsp_depthwise",
        "depthwise_rows",
        layer,
        inputs=(0,),
        constants=(1, 2, 3),
        pack=_by_four_channels(codes.left),
        features=frozenset(features),
        scratch_bytes=8 * height * width + 8 * columns * height,
        in_place=(0,) if same and centred and rings is None else (),
        macs=macs,
        by_row=rings is not None,
    )


def _along_rows(shape: ConvShape) -> ConvShape:
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
        padding=(left, top, right, bottom),
    )


def _by_four_channels(left: int) -> Pack:
    """shift, then by four channels: biases, multipliers, a word of four weights for each tap."""

    def pack(constants: Sequence[np.ndarray]) -> np.ndarray:
        weights, bias, mantissa = constants
        shift, multiplier = scaled(mantissa, left)
        taps = sized(weights.reshape(len(weights), -1), 0, 4)
        blocks = words(taps.reshape(-1, 4, taps.shape[1]).transpose(0, 2, 1).copy())[..., 0]
        sides = [sized(side, 0, 4).reshape(-1, 4) for side in (bias, multiplier)]
        body = np.concatenate([*sides, blocks], axis=1)
        return np.concatenate([[shift], body.ravel()]).astype(WORD)

    return pack


GENERATORS: dict[str, Callable[[Operator, Rings | None], CKernel | None]] = {
    "quantized_conv2d": conv2d,
    "quantized_matmul": matmul,
}
