"""Int8 kernels for cores without parallel arithmetic: Cortex-M0+ and M3, 32-bit RISC-V.

Cortex-M0+ (``thumb1``) loads bytes with an offset only as unsigned ones, and has the low word of a
product only; Cortex-M3 (``thumb2``) has neither limit. RISC-V (``rv32``) has registers for four
pixels at once, no multiply-accumulate, and the high word of a product without its low one.
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
from footprint_compiler.kernels.c.weights import WORD, scaled, sized, words

_OUTPUT = 4
"""Parameter index of the output: after the input, weights, biases and mantissas."""

_TOGETHER = {"thumb1": 2, "thumb2": 2, "rv32": 4}
"""Pixels that a core computes at once."""

_MANY = {2: "twice", 4: "fourfold"}


def conv2d(operator: Operator, rings: Rings | None = None, core: str = "thumb2") -> CKernel | None:
    """A convolution, depthwise or with one group; None for others."""
    layer = read_conv2d(operator)
    if layer is None:
        return None
    form = _depthwise if layer.depthwise else _convolution
    return form(layer, rings, core)


def matmul(operator: Operator, rings: Rings | None = None, core: str = "thumb2") -> CKernel | None:
    """Rows of an activation times constant weights (K, N)."""
    layer = read_matmul(operator)
    return None if layer is None or rings is not None else _convolution(layer, None, core)


def _features(rings: Rings | None, core: str) -> frozenset[str]:
    return row_features(rings) | {core}


def _convolution(layer: Linear, rings: Rings | None, core: str) -> CKernel | None:
    shape, codes = layer.shape, layer.codes
    flat = shape.flattened() if rings is None else shape
    if flat.batch != 1:
        return None
    same = is_same_place(flat, rings)
    features = set(_features(rings, core) | codes.features)
    features |= {"fours"} if flat.in_channels % 4 == 0 else set()
    pixels = flat.out_width * (flat.out_height if rings is None else 1)
    together = _TOGETHER[core]
    features |= {_MANY[together]} if pixels >= together > 1 else set()
    scratch = layer.depth * min(pixels, together)
    if core == "thumb1":
        features |= {"single"} if pixels == 1 else set()
        features |= {"shift"} if codes.left else set()
        scratch = layer.depth if pixels == 1 else 12 * -(-layer.depth // 2)
    elif core == "thumb2":
        features |= {"single"} if pixels == 1 or (rings is not None and pixels % 2) else set()
    elif core == "rv32":
        features |= {"single"} if pixels % 4 else set()
        features |= {"rest"} if layer.depth % 4 else set()
    return CKernel(
        "conv2d",
        "scalar_conv",
        "conv_rows",
        {
            **window_fields(flat, rings, _OUTPUT),
            "depth": layer.depth,
            "step": 2 if core == "thumb1" and pixels > 1 else 1,
            **code_fields(codes, codes.zero_point),
        },
        inputs=(0,),
        constants=(1, 2, 3),
        pack=_by_pairs(layer, pixels == 1) if core == "thumb1" else _by_tap(layer),
        features=frozenset(features),
        scratch_bytes=scratch,
        in_place=(0,) if same else (),
        macs=shape.macs,
        by_row=rings is not None,
    )


def _by_tap(layer: Linear) -> Pack:
    """shift and three zeros, then by four channels: biases less the zero point's share, four
    weights by tap, multipliers of ``scaled``.
    """

    def pack(constants: Sequence[np.ndarray]) -> np.ndarray:
        weights, bias, mantissa = constants
        matrix = sized(layer.matrix(weights).astype(np.int64), 0, 4)
        folded = sized(bias.astype(np.int64), 0, 4) - layer.codes.zero_point * matrix.sum(axis=1)
        shift, factors = scaled(mantissa, layer.codes.left)
        taps = matrix.reshape(-1, 4, layer.depth).transpose(0, 2, 1)
        return _block(shift, folded, taps, factors)

    return pack


def _by_pairs(layer: Linear, single: bool) -> Pack:
    """left and three zeros, then by four channels: biases less the zero point's share and plus
    the pairs of taps, two weights of each by pairs of taps, mantissas.

    Weights are stored as bytes v = w + 128. A kernel of a ``single`` pixel reads u = x + 128, too,
    and from sum (x - z) w = sum u v - 128 sum u - (128 + z) sum w it subtracts sum u itself; its
    biases are not counted up.
    """
    share = layer.codes.zero_point + (128 if single else 0)

    def pack(constants: Sequence[np.ndarray]) -> np.ndarray:
        weights, bias, mantissa = constants
        matrix = sized(layer.matrix(weights).astype(np.int64), 0, 4)
        folded = sized(bias.astype(np.int64), 0, 4) - share * matrix.sum(axis=1)
        pairs = sized(matrix, 1, 2).reshape(len(matrix) // 4, 4, -1, 2).transpose(0, 2, 1, 3)
        stored = (pairs + 128).astype(np.uint8).view(np.int8)
        begin = folded if single else folded + pairs.shape[1]
        return _block(layer.codes.left, begin, stored, mantissa)

    return pack


def _block(first: int, bias: np.ndarray, taps: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """``first`` and three zeros, then by four channels: biases, bytes of ``taps``, factors."""
    blocks = words(taps.reshape(len(taps), -1))
    sides = [sized(side, 0, 4).reshape(-1, 4) for side in (bias, factors)]
    body = np.concatenate([sides[0], blocks, sides[1]], axis=1)
    return np.concatenate([[first, 0, 0, 0], body.ravel()]).astype(WORD)


def _depthwise(layer: Linear, rings: Rings | None, core: str) -> CKernel | None:
    shape, codes = layer.shape, layer.codes
    if shape.batch != 1:
        return None
    if rings is None:
        shape = along_rows(shape)
    height, width = shape.kernel
    columns = max(
        shape.padding[1] + shape.in_width, (shape.out_width - 1) * shape.stride[1] + width
    )
    features = _features(rings, core) | {"three" if shape.kernel == (3, 3) else "other"}
    features |= {"shift"} if core == "thumb1" and codes.left else set()
    return CKernel(
        "depthwise",
        "scalar_depthwise",
        "depthwise_rows",
        {
            **window_fields(shape, rings, _OUTPUT),
            "pitch": columns,
            **code_fields(codes, codes.zero_point),
        },
        inputs=(0,),
        constants=(1, 2, 3),
        pack=_by_channel(layer, core),
        features=features,
        scratch_bytes=4 * height * (width + columns),
        in_place=(0,) if rings is None and same_image(shape) else (),
        macs=shape.macs,
        by_row=rings is not None,
    )


def _by_channel(layer: Linear, core: str) -> Pack:
    """left, then by channel: bias, mantissa, weights in bytes up to a whole word.

    With ``rv32`` shift and multipliers of ``scaled`` stand in their place.
    """

    def pack(constants: Sequence[np.ndarray]) -> np.ndarray:
        weights, bias, mantissa = constants
        taps = words(sized(layer.matrix(weights), 1, 4))
        left, factors = layer.codes.left, mantissa
        if core == "rv32":
            left, factors = scaled(mantissa, left)
        body = np.concatenate([bias[:, None], factors[:, None], taps], axis=1)
        return np.concatenate([[left], body.ravel()]).astype(WORD)

    return pack


def generators(core: str) -> dict[str, Callable[[Operator, Rings | None], CKernel | None]]:
    """Operator name -> generator, for ``thumb1``, ``thumb2`` or ``rv32``."""
    found: dict[str, Callable[[Operator, Rings | None], CKernel | None]] = {
        "quantized_conv2d": partial(conv2d, core=core),
        "quantized_matmul": partial(matmul, core=core),
        "quantized_add": partial(add, feature="saturate" if core == "thumb2" else ""),
        "lookup": lookup,
    }
    if core != "thumb1":
        feature = "saturate" if core == "thumb2" else "clamp"
        found["quantized_multiply"] = partial(multiply, feature=feature)
    return found
