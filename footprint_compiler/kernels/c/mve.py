"""Int8 kernels for the vector extension of Armv8.1-M: Cortex-M55.

VMLADAVA.S8 adds sixteen products to a scalar; loops end with a predicated step, so that no size
needs padding in memory. Depthwise layers multiply eight channels of 16 bits by VMULLB and VMULLT.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from footprint_compiler.kernels.c.add import add
from footprint_compiler.kernels.c.kernel import CKernel, Pack
from footprint_compiler.kernels.c.layer import (
    Linear,
    Rings,
    along_rows,
    code_fields,
    is_points,
    is_same_place,
    read_conv2d,
    read_matmul,
    row_features,
    same_image,
    window_fields,
)
from footprint_compiler.kernels.c.lookup import lookup
from footprint_compiler.kernels.c.multiply import multiply
from footprint_compiler.kernels.c.operator import Operator
from footprint_compiler.kernels.c.weights import WORD, sized, words

_OUTPUT = 4
"""Parameter index of the output: after the input, weights, biases and mantissas."""


def conv2d(operator: Operator, rings: Rings | None = None) -> CKernel | None:
    """A convolution, depthwise or with one group; None for others."""
    layer = read_conv2d(operator)
    if layer is None:
        return None
    return _depthwise(layer, rings) if layer.depthwise else _convolution(layer, rings)


def matmul(operator: Operator, rings: Rings | None = None) -> CKernel | None:
    """Rows of an activation times constant weights (K, N)."""
    layer = read_matmul(operator)
    return None if layer is None or rings is not None else _convolution(layer, None)


def _convolution(layer: Linear, rings: Rings | None) -> CKernel | None:
    shape, codes = layer.shape, layer.codes
    flat = shape.flattened() if rings is None else shape
    if flat.batch != 1:
        return None
    points = is_points(flat, rings)
    same = is_same_place(flat, rings)
    features = set(codes.features) | row_features(rings)
    features |= {"points"} if points else {"windows"}
    features |= {"dilated"} if flat.dilation[1] > 1 and not points else set()
    features |= {"tail"} if layer.depth % 16 else set()
    features |= {"ragged"} if flat.out_channels % 4 else set()
    features |= {"shift"} if codes.left else set()
    pixels = flat.out_width * (flat.out_height if rings is None else 1)
    features |= {"twice"} if pixels > 1 else set()
    features |= {"single"} if pixels % 2 else set()
    return CKernel(
        "conv2d",
        "mve_conv",
        "conv_points" if points else "conv_rows",
        {
            **window_fields(flat, rings, _OUTPUT),
            "depth": layer.depth,
            "gap": flat.in_channels * flat.stride[1] if points else layer.depth,
            **code_fields(codes, codes.zero_point),
        },
        inputs=(0,),
        constants=(1, 2, 3),
        pack=_by_sixteen(layer),
        features=frozenset(features),
        scratch_bytes=layer.depth * min(pixels, 2) if same or not points else 0,
        in_place=(0,) if same else (),
        macs=shape.macs,
        by_row=rings is not None,
    )


def _by_sixteen(layer: Linear) -> Pack:
    """left and three zeros, then by four channels: biases, sixteen weights by turns, mantissas."""

    def pack(constants: Sequence[np.ndarray]) -> np.ndarray:
        weights, bias, mantissa = constants
        matrix = layer.matrix(weights).astype(np.int64)
        folded = bias.astype(np.int64) - layer.codes.zero_point * matrix.sum(axis=1)
        taps = words(sized(sized(matrix, 0, 4), 1, 16)).reshape(-1, 4, -(-layer.depth // 16), 4)
        blocks = taps.transpose(0, 2, 1, 3)
        sides = [sized(side, 0, 4).reshape(-1, 4) for side in (folded, mantissa)]
        body = np.concatenate([sides[0], blocks.reshape(len(blocks), -1), sides[1]], axis=1)
        return np.concatenate([[layer.codes.left, 0, 0, 0], body.ravel()]).astype(WORD)

    return pack


def _depthwise(layer: Linear, rings: Rings | None) -> CKernel | None:
    shape, codes = layer.shape, layer.codes
    if shape.batch != 1:
        return None
    if rings is None:
        shape = along_rows(shape)
    features = set(codes.features) | row_features(rings)
    features |= {"shift"} if codes.left else set()
    three = shape.stride[1] if shape.kernel == (3, 3) and shape.stride[1] < 3 else 0
    features |= {f"three{three}" if three else "other"}
    features |= {"odd"} if shape.out_width % 2 else set()
    columns = max(
        shape.padding[1] + shape.in_width,
        (shape.out_width - 1) * shape.stride[1] + shape.kernel[1],
    )
    return CKernel(
        "depthwise",
        "mve_depthwise",
        "depthwise_rows",
        {
            **window_fields(shape, rings, _OUTPUT),
            "pitch": 8 * columns,
            "three": three,
            **code_fields(codes, codes.zero_point),
        },
        inputs=(0,),
        constants=(1, 2, 3),
        pack=_by_eight_channels(layer),
        features=frozenset(features),
        scratch_bytes=16 * columns * shape.kernel[0],
        in_place=(0,) if rings is None and same_image(shape) else (),
        macs=shape.macs,
        by_row=rings is not None,
    )


def _by_eight_channels(layer: Linear) -> Pack:
    """left and three zeros, then by eight channels: biases and mantissas, even before odd ones,

    and eight weights for each tap.
    """

    def pack(constants: Sequence[np.ndarray]) -> np.ndarray:
        weights, bias, mantissa = constants
        taps = sized(layer.matrix(weights), 0, 8)
        blocks = words(taps.reshape(-1, 8, taps.shape[1]).transpose(0, 2, 1).copy())
        sides = [
            sized(side, 0, 8).reshape(-1, 4, 2).transpose(0, 2, 1).reshape(-1, 8)
            for side in (bias, mantissa)
        ]
        body = np.concatenate([*sides, blocks.reshape(len(blocks), -1)], axis=1)
        return np.concatenate([[layer.codes.left, 0, 0, 0], body.ravel()]).astype(WORD)

    return pack


GENERATORS: dict[str, Callable[[Operator, Rings | None], CKernel | None]] = {
    "quantized_conv2d": conv2d,
    "quantized_matmul": matmul,
    "quantized_add": partial(add, feature="mve"),
    "quantized_multiply": partial(multiply, feature="mve"),
    "lookup": lookup,
}
