"""Float32 kernels in C for Cortex-M with a floating-point unit.

All layers of a family share one function; its inner loops keep 4 pixels x 4 channels of sums in
registers. ``fpu`` multiplies and adds apart, ``fma`` at once, ``mve`` in vectors of four.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from footprint_compiler.kernels.c.float_layer import FloatEpilogue, read_epilogue
from footprint_compiler.kernels.c.kernel import CKernel, Pack
from footprint_compiler.kernels.c.layer import Rings, along_rows, row_features, window_fields
from footprint_compiler.kernels.c.weights import sized
from footprint_compiler.kernels.conv import ConvShape, inner_columns
from footprint_compiler.kernels.decisions import choose

if TYPE_CHECKING:
    from footprint_compiler.kernels.fused import Fused

LANES = 4
"""Output channels of a block of weights."""
_TILES = {"fpu": (1, 3, 4, 5), "fma": (1, 3, 4, 5), "mve-f": (1, 3, 4, 5, 6)}
"""Pixels of a tile that the registers hold sums of."""
_GROUPS = {"fpu": 2, "fma": 2, "mve-f": 4}
"""Channels that the function of depthwise kernels works on together."""
_PRODUCTS = {"fpu": 8, "fma": 4, "mve-f": 1}
"""Instructions for a pixel and a tap of four channels."""

_Matrix = Callable[[np.ndarray], np.ndarray]


def float_form(
    fused: Fused, shape: ConvShape, unit: str, constant_params: frozenset[int]
) -> Callable[[Rings | None], CKernel | None]:
    """Rings -> the kernel of a convolution, or None where the C functions do not serve it well.

    Args:
        fused: the convolution and its epilogue.
        shape: of the convolution.
        unit: a name that ``cores.float_unit_of`` gives.
        constant_params: indices of parameters that are compile-time constants.
    """
    if shape.groups == 1:
        return lambda rings: _convolution(fused, shape, unit, constant_params, rings)
    if shape.groups == shape.in_channels == shape.out_channels:
        return lambda rings: _depthwise(fused, shape, unit, constant_params, rings)
    return lambda rings: None


def _convolution(
    fused: Fused,
    shape: ConvShape,
    unit: str,
    constant_params: frozenset[int],
    rings: Rings | None,
) -> CKernel | None:
    if shape.out_channels < LANES:
        return None
    return _kernel("conv2d", fused, shape, unit, constant_params, rings, _taps)


def float_dense(
    fused: Fused, shape: ConvShape, unit: str, constant_params: frozenset[int]
) -> CKernel | None:
    """Rows times constant weights (K, N), as a convolution over one row of pixels."""
    if unit == "mve-f" and shape.out_width < _TILES[unit][1]:
        return None  # one row at a time loads as much as it multiplies: TIR has wider tiles
    if shape.out_channels < LANES:
        return None
    return _kernel("dense", fused, shape, unit, constant_params, None, np.transpose)


def float_row_work(shape: ConvShape, unit: str) -> float:
    """Estimated instructions of a convolution by rows relative to those at once."""
    if shape.groups > 1:
        return 1.0  # every row is worked on alone
    flat = _flat(shape)
    at_once = flat.out_height * _row_cost(flat, tile_pixels(flat, unit), unit)
    return shape.out_height * _row_cost(shape, tile_pixels(shape, unit), unit) / at_once


def tile_pixels(shape: ConvShape, unit: str) -> int:
    """Pixels of the tiles that make a row of ``shape`` cheapest."""
    return min(_TILES[unit], key=lambda pixels: _row_cost(shape, pixels, unit))


def _row_cost(shape: ConvShape, pixels: int, unit: str) -> float:
    """Instructions and loaded words for a tap of four channels; pixels at the borders are alone."""
    first, end = (0, shape.out_width) if gathers(shape) else inner_columns(shape)
    inner = max(0, end - first)
    tiles, rest = divmod(inner, pixels)
    rest += shape.out_width - inner
    both = _PRODUCTS[unit] + 1
    return tiles * (pixels * both + 5) + rest * (both + 5)


def gathers(shape: ConvShape) -> bool:
    """Whether windows are worth copying: their rows are so short that to start each costs more."""
    rows, taps = shape.kernel[0], prod(shape.kernel) * shape.in_channels
    blocks = -(-shape.out_channels // LANES)
    return rows > 1 and blocks * rows * 5 > 5 * taps + 8 * rows and taps <= 64


def _depthwise(
    fused: Fused,
    shape: ConvShape,
    unit: str,
    constant_params: frozenset[int],
    rings: Rings | None,
) -> CKernel | None:
    group = _GROUPS[unit]
    if shape.out_channels < group:
        return None
    counts, epilogue = _sliding(shape), read_epilogue(fused, constant_params)
    if counts is None or epilogue is None or epilogue.residual is not None:
        return None
    image, weights = (fused.position(operand) for operand in fused.operands)
    before, columns, after = counts
    fields = {
        **_fields(shape, epilogue, rings, image, len(fused.params) - 1),
        "before": before,
        "columns": columns,
        "after": after,
    }
    own = {unit, f"stride{shape.stride[1]}"}
    return _with_epilogue(
        CKernel(
            "depthwise",
            "float_depthwise",
            "fdepthwise_rows",
            fields,
            inputs=(image,),
            constants=(weights,),
            pack=_groups(epilogue, group),
            features=row_features(_of_image(rings, image)) | epilogue.features | own,
            macs=shape.macs,
            by_row=rings is not None,
            element="float",
        ),
        epilogue,
        rings,
    )


def _sliding(shape: ConvShape) -> tuple[int, int, int] | None:
    """Columns before the first output is done, those that end one, and outputs left behind them.

    None for what the function does not do: other kernels, or more than one column of padding.
    """
    square = shape.kernel == (3, 3) and shape.dilation == (1, 1) and shape.batch == 1
    if not square or shape.stride[1] not in (1, 2):
        return None
    left, width = shape.padding[1], shape.in_width
    needed = (shape.out_width - 1) * shape.stride[1] + 3 - left
    after = max(0, needed - width)
    if left > 1 or after > 1:
        return None
    before = 2 - left if shape.stride[1] == 1 else 1 - left
    columns = shape.out_width - after
    return (before, columns, after) if width >= 2 else None


def _groups(epilogue: FloatEpilogue, size: int) -> Pack:
    """By ``size`` channels: biases, then weights for each tap; the last group is always full."""

    def pack(constants: Sequence[np.ndarray]) -> np.ndarray:
        taps = constants[0].astype(np.float32).reshape(len(constants[0]), -1)
        bias = np.zeros(len(taps), np.float32)
        if epilogue.bias is not None:
            bias = constants[1].astype(np.float32).reshape(-1)
        columns = np.concatenate([bias[:, None], taps], axis=1)
        first = np.minimum(np.arange(0, len(taps), size), len(taps) - size)
        return np.stack([columns[first + lane] for lane in range(size)], axis=2).ravel()

    return pack


def _kernel(
    family: str,
    fused: Fused,
    shape: ConvShape,
    unit: str,
    constant_params: frozenset[int],
    rings: Rings | None,
    matrix: _Matrix,
) -> CKernel | None:
    epilogue = read_epilogue(fused, constant_params)
    if epilogue is None:
        return None
    flat = _flat(shape) if rings is None else shape
    if flat.batch != 1 or (flat.dilation[1] != 1 and flat.kernel[1] != 1):
        return None
    image, weights = (fused.position(operand) for operand in fused.operands)
    pixels = choose("pixels", tile_pixels(flat, unit), _TILES[unit])
    gathered = gathers(flat)
    if gathered and unit == "mve-f":
        return None  # counted: 0.72 instructions for a product, 0.46 in TIR
    own = {unit, f"tile{pixels}", "gathered" if gathered else "direct"}
    return _with_epilogue(
        CKernel(
            family,
            "float_conv",
            "fconv_windows" if gathered else "fconv_rows",
            {
                **_fields(flat, epilogue, rings, image, len(fused.params) - 1),
                "pixels": pixels,
            },
            inputs=(image,),
            constants=(weights,),
            pack=_blocks(matrix, epilogue),
            features=row_features(_of_image(rings, image)) | epilogue.features | own,
            scratch_bytes=4 * pixels * prod(flat.kernel) * flat.in_channels if gathered else 0,
            macs=shape.macs,
            by_row=rings is not None,
            element="float",
        ),
        epilogue,
        rings,
    )


def _flat(shape: ConvShape) -> ConvShape:
    """The same with longer rows, where its taps stay neighbours."""
    flat = shape.flattened()
    return along_rows(flat) if flat.dilation[0] == 1 else flat


def _with_epilogue(kernel: CKernel, epilogue: FloatEpilogue, rings: Rings | None) -> CKernel:
    """The kernel with the parameters of its epilogue."""
    constants, inputs, in_place = kernel.constants, kernel.inputs, kernel.in_place
    if epilogue.bias is not None:
        constants = (*constants, epilogue.bias)
    rows: tuple[int, ...] = ()
    if epilogue.residual is not None:
        in_place = (*in_place, len(inputs))
        inputs = (*inputs, epilogue.residual)
        rows = ((rings or {}).get(epilogue.residual, kernel.layer["out_height"]),)
    return replace(kernel, constants=constants, inputs=inputs, in_place=in_place, rows=rows)


def _of_image(rings: Rings | None, image: int) -> Rings | None:
    """The rings as if the image were parameter 0."""
    return None if rings is None else {0: rings[image]} if image in rings else {}


def _fields(
    shape: ConvShape, epilogue: FloatEpilogue, rings: Rings | None, image: int, output: int
) -> Mapping[str, int]:
    rows = None
    if rings is not None:
        renamed = {image: 0, output: 1}
        rows = {renamed[at]: ring for at, ring in rings.items() if at in renamed}
    return {**window_fields(shape, rows, 1), **epilogue.fields}


def _blocks(matrix: _Matrix, epilogue: FloatEpilogue) -> Pack:
    """By four channels: biases, then four weights for each tap in the order of memory."""

    def pack(constants: Sequence[np.ndarray]) -> np.ndarray:
        taps = sized(matrix(constants[0]), 0, LANES).astype(np.float32)
        bias = np.zeros(matrix(constants[0]).shape[0], np.float32)
        if epilogue.bias is not None:
            bias = constants[1].astype(np.float32).reshape(-1)
        sides = sized(bias, 0, LANES).reshape(-1, 1, LANES)
        body = taps.reshape(-1, LANES, taps.shape[1]).transpose(0, 2, 1)
        return np.ascontiguousarray(np.concatenate([sides, body], axis=1)).ravel()

    return pack


def _taps(weights: np.ndarray) -> np.ndarray:
    """OIHW -> (O, H W I), the order in which windows of NHWC are read."""
    return weights.transpose(0, 2, 3, 1).reshape(len(weights), prod(weights.shape[1:]))
