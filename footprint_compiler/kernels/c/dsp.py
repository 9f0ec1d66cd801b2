"""Int8 kernels for Armv7E-M and the DSP extension of Armv8-M: Cortex-M4, M7, M33.

SMLAD multiplies two pairs of 16-bit values; SXTB16 makes such pairs of bytes 0 and 2, or 1 and 3,
of a word. Weights and activations are both unpacked like that, so no pair is ever shuffled. Where
weights and sums allow, words of weights are factors as they are, too, and half of the unpacking is
saved: see CROSS in the template. The ``wide`` form stores the weights of convolutions unpacked:
twice the flash, fewer instructions. The ``small`` form has one function for all convolutions and
dense layers.
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
    pair,
    read_conv2d,
    read_matmul,
    row_features,
    same_image,
    window_fields,
)
from footprint_compiler.kernels.c.lookup import lookup
from footprint_compiler.kernels.c.multiply import multiply
from footprint_compiler.kernels.c.operator import Operator
from footprint_compiler.kernels.c.weights import (
    CROSSED_BITS,
    CROSSED_REST,
    WORD,
    crossed_words,
    pairs,
    scaled,
    sized,
    words,
)
from footprint_compiler.kernels.conv import ConvShape
from footprint_compiler.kernels.decisions import choose

MOST_SHIFT = CROSSED_BITS
"""Shifts of crossed sums are to the right: ``left`` + 1 of others is at most this."""
LONG_DENSE = 512
"""Inputs from which a dense layer does without scratch of twice their size."""

_OUTPUT = 4
"""Parameter index of the output: after the input, weights, biases and mantissas."""


def conv2d(
    operator: Operator, rings: Rings | None = None, form: str = "", crossed: bool = False
) -> CKernel | None:
    """A convolution, depthwise or with one group; None for others."""
    layer = read_conv2d(operator)
    if layer is None:
        return None
    if layer.depthwise:
        return _depthwise(layer, rings, form)
    return _convolution(layer, rings, form, crossed)


def matmul(
    operator: Operator, rings: Rings | None = None, form: str = "", crossed: bool = False
) -> CKernel | None:
    """Rows of an activation times constant weights (K, N)."""
    layer = read_matmul(operator)
    return None if layer is None or rings is not None else _convolution(layer, None, form, crossed)


def _convolution(layer: Linear, rings: Rings | None, form: str, crossed: bool) -> CKernel | None:
    shape, codes = layer.shape, layer.codes
    crossed = crossed and codes.left < MOST_SHIFT
    if rings is None and shape.batch * shape.out_height * shape.out_width == 1:
        whole = shape.kernel == (shape.in_height, shape.in_width) and not any(shape.padding)
        if whole and form != "small":
            return _dense(layer, crossed)
    flat = shape.flattened() if rings is None else shape
    if flat.batch != 1:
        return None
    points = is_points(flat, rings)
    uneven = flat.in_channels % 4 != 0
    groups = -(-layer.depth // 4)
    features = set(codes.features)
    features |= {"points"} if points else {"bytes"} if uneven else {"windows"}
    features |= {"uneven"} if uneven and points else set()
    features |= {"dilated"} if flat.dilation[1] > 1 else set()
    features |= {"wide"} if form == "wide" else set()
    crossed = crossed and form != "wide"
    features |= {"crossed" if crossed else "plain"}
    twins = not points and not uneven and form != "small" and _overlap(flat)
    twins = twins and bool(choose("twins", 1, (0, 1)))
    features |= {"twins"} if twins else set()
    features |= row_features(rings)
    same = is_same_place(flat, rings)
    return CKernel(
        "conv2d",
        "dsp_conv",
        "conv_points" if points else "conv_rows",
        {
            **window_fields(flat, rings, _OUTPUT),
            "groups": groups,
            "twins": int(twins),
            "crossed": int(crossed),
            **code_fields(codes, pair(-codes.zero_point)),
        },
        inputs=(0,),
        constants=(1, 2, 3),
        pack=_crossed(layer, 2) if crossed else _by_turns(layer, 2, form == "wide"),
        features=frozenset(features),
        scratch_bytes=16 * groups + (4 * groups + 4 if uneven and not points else 0),
        in_place=(0,) if same else (),
        macs=shape.macs,
        by_row=rings is not None,
    )


def _overlap(shape: ConvShape) -> bool:
    """Whether the windows of two pixels side by side share columns."""
    return shape.stride[1] == 1 == shape.dilation[1] and shape.kernel[1] > 1


def _dense(layer: Linear, crossed: bool) -> CKernel:
    """One row: its pairs are unpacked once to scratch, or for every four columns where that is
    much memory for little work.
    """
    groups = -(-layer.depth // 4)
    direct = layer.depth % 4 == 0
    direct = direct and bool(choose("direct", int(layer.depth >= LONG_DENSE), (0, 1)))
    features = layer.codes.features | {"dense-crossed" if crossed else "dense-plain"}
    features |= {"direct"} if direct else set()
    features |= {"uneven"} if layer.depth % 4 else set()
    return CKernel(
        "dense",
        "dsp_dense",
        "dense_direct" if direct else "dense",
        {
            "rows": 1,
            "depth": layer.depth,
            "columns": layer.shape.out_channels,
            "groups": groups,
            "crossed": int(crossed),
            **code_fields(layer.codes, pair(-layer.codes.zero_point)),
        },
        inputs=(0,),
        constants=(1, 2, 3),
        pack=_crossed(layer, 4) if crossed else _by_turns(layer, 4, False, folded=direct),
        features=frozenset(features),
        scratch_bytes=0 if direct else 8 * groups,
        macs=layer.shape.macs,
    )


def _by_turns(layer: Linear, together: int, wide: bool, folded: bool = False) -> Pack:
    """shift, then by ``together`` channels: biases, words of four weights by turns, multipliers.

    ``wide``: for each word of four weights, the pairs (0, 2) and (1, 3) of 16 bits. ``folded``: the
    biases subtract the input's zero point, modulo 2^32 as sums are.
    """

    def pack(constants: Sequence[np.ndarray]) -> np.ndarray:
        weights, bias, mantissa = constants
        shift, multiplier = scaled(mantissa, layer.codes.left)
        matrix = layer.matrix(weights)
        if folded:
            sums = matrix.astype(np.int64).sum(axis=1)
            bias = (bias - layer.codes.zero_point * sums).astype(np.uint32).view(np.int32)
        taps = sized(sized(matrix, 0, together), 1, 4)
        unit = (pairs(taps) if wide else words(taps)).reshape(len(taps), taps.shape[1] // 4, -1)
        return _block(shift, bias, unit, multiplier, together)

    return pack


def _crossed(layer: Linear, together: int) -> Pack:
    """The same for sums of 256 times the products: 8 - shift comes first, weights are crossed, and
    biases subtract what the products hold besides.
    """

    def pack(constants: Sequence[np.ndarray]) -> np.ndarray:
        weights, bias, mantissa = constants
        shift, multiplier = scaled(mantissa, layer.codes.left)
        taps = sized(sized(layer.matrix(weights).astype(np.int64), 0, together), 1, 4)
        sums = sized(bias.astype(np.int64), 0, together)
        sums = (sums - layer.codes.zero_point * taps.sum(axis=1)) << CROSSED_BITS
        sums = (sums - CROSSED_REST * taps[:, 1::2].sum(axis=1)).astype(np.uint32).view(np.int32)
        unit = crossed_words(taps)[..., None]
        return _block(CROSSED_BITS - shift, sums, unit, multiplier, together)

    return pack


def _block(
    first: int, bias: np.ndarray, unit: np.ndarray, multiplier: np.ndarray, together: int
) -> np.ndarray:
    """``first``, then by ``together`` channels: biases, ``unit`` by turns, multipliers.

    Args:
        unit: (channels, groups of four weights, words of each).
    """
    blocks = unit.reshape(-1, together, *unit.shape[1:]).transpose(0, 2, 1, 3)
    sides = [sized(side, 0, together).reshape(-1, together) for side in (bias, multiplier)]
    body = np.concatenate([sides[0], blocks.reshape(len(blocks), -1), sides[1]], axis=1)
    return np.concatenate([[first], body.ravel()]).astype(WORD)


def _depthwise(layer: Linear, rings: Rings | None, form: str) -> CKernel | None:
    shape, codes = layer.shape, layer.codes
    if shape.batch != 1:
        return None
    if rings is None:
        shape = along_rows(shape)
    height, width = shape.kernel
    fast = shape.stride[1] <= 2 and form != "small"
    by_pairs = fast and shape.kernel == (3, 3) and bool(choose("pairs", 1, (0, 1)))
    wide = fast and width in (5, 7) and min(shape.in_channels, 2 * shape.out_width) > 3
    wide = wide and bool(choose("wide", 1, (0, 1)))
    columns = max(
        shape.padding[1] + shape.in_width, (shape.out_width - 1) * shape.stride[1] + width
    )
    features = set(codes.features)
    features |= {f"wide{width}x{shape.stride[1]}"} if wide else set()
    features |= {"uneven"} if shape.in_channels % 4 else set()
    features |= {f"pairs{shape.stride[1]}"} if by_pairs else set()
    features |= {"single"} if by_pairs and shape.out_width % 2 else set()
    features |= row_features(rings)
    return CKernel(
        "depthwise",
        "dsp_depthwise",
        "depthwise_rows",
        {
            **window_fields(shape, rings, _OUTPUT),
            "pitch": 2 * columns,
            "pairs": int(by_pairs),
            "wide": int(wide),
            **code_fields(codes, pair(-codes.zero_point)),
        },
        inputs=(0,),
        constants=(1, 2, 3),
        pack=_by_four_channels(layer),
        features=frozenset(features),
        scratch_bytes=8 * height * width + 8 * columns * height,
        in_place=(0,) if rings is None and same_image(shape) else (),
        macs=shape.macs,
        by_row=rings is not None,
    )


def _by_four_channels(layer: Linear) -> Pack:
    """shift, then by four channels: biases, multipliers, a word of four weights for each tap."""

    def pack(constants: Sequence[np.ndarray]) -> np.ndarray:
        weights, bias, mantissa = constants
        shift, multiplier = scaled(mantissa, layer.codes.left)
        taps = sized(layer.matrix(weights), 0, 4)
        blocks = words(taps.reshape(-1, 4, taps.shape[1]).transpose(0, 2, 1).copy())[..., 0]
        sides = [sized(side, 0, 4).reshape(-1, 4) for side in (bias, multiplier)]
        body = np.concatenate([*sides, blocks], axis=1)
        return np.concatenate([[shift], body.ravel()]).astype(WORD)

    return pack


def generators(
    form: str = "", crossed: bool = False
) -> dict[str, Callable[[Operator, Rings | None], CKernel | None]]:
    """Operator name -> generator."""
    return {
        "quantized_conv2d": partial(conv2d, form=form, crossed=crossed),
        "quantized_matmul": partial(matmul, form=form, crossed=crossed),
        "quantized_add": partial(add, feature="saturate"),
        "quantized_multiply": partial(multiply, feature="saturate"),
        "lookup": lookup,
    }
