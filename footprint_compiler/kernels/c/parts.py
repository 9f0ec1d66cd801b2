"""Int8 convolutions in parts: by groups of channels, or by phases of a transposed convolution.

Each part is a convolution with one group whose windows and results lie apart in memory. Windows of
two pixels are gathered as bytes in a row; then they are two rows times constant weights, for which
the core has a kernel already (``products``). So this works with whatever that kernel does, and a
model that has it pays only for the gathering.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from footprint_compiler.kernels.c.kernel import CKernel, Pack
from footprint_compiler.kernels.c.layer import (
    Rings,
    codes_of,
    conv_shape,
    image_fields,
    row_features,
)
from footprint_compiler.kernels.c.operator import Operator
from footprint_compiler.kernels.conv import ConvShape
from footprint_compiler.kernels.conv_transpose import phase_shape, phases

Products = Callable[[Operator], CKernel | None]
"""The kernel of a ``quantized_matmul``."""

LEAST_PRODUCTS = {"conv_points": 16, "conv_rows": 256}
"""Function of the products -> least of a window and a slice: where less is multiplied, TIR gathers

nothing and is faster. ``conv_rows`` gathers rows once more.
"""
_OUTPUT = 4
_ROWS = 3
"""Of the operator that ``products`` is asked for: pairs, and one that is left."""


@dataclass(frozen=True)
class _Part:
    """One convolution of slices.

    Attributes:
        shape: of one slice, with one group.
        taps: the layer's weights -> (slices, output channels, products in the order of a window).
        row, column: of its first output; ``steps`` from one to the next.
    """

    shape: ConvShape
    taps: Callable[[np.ndarray], np.ndarray]
    row: int = 0
    column: int = 0
    steps: tuple[int, int] = (1, 1)

    @property
    def depth(self) -> int:
        """Products in a sum."""
        return prod(self.shape.kernel) * self.shape.in_channels


def grouped(operator: Operator, rings: Rings | None, products: Products) -> CKernel | None:
    """A ``quantized_conv2d`` with several groups of several channels."""
    names = ("stride", "padding", "dilation", "groups", "zero_point", "scaling", "output")
    if not operator.has_exactly(*names):
        return None
    shape = conv_shape(operator)
    groups, weights = shape.groups, operator.shapes[1]
    if groups in (1, shape.in_channels) or weights[1] * groups != shape.in_channels:
        return None

    def taps(array: np.ndarray) -> np.ndarray:
        return array.transpose(0, 2, 3, 1).reshape(groups, len(array) // groups, -1)

    part = _Part(_slice(shape, groups), taps)
    return _kernel("conv2d", operator, rings, [part], groups, shape.macs, products)


def transposed(operator: Operator, rings: Rings | None, products: Products) -> CKernel | None:
    """A ``quantized_conv2d_transpose``."""
    names = ("stride", "padding", "dilation", "groups", "out", "zero_point", "scaling", "output")
    if rings is not None or not operator.has_exactly(*names):
        return None
    shape = conv_shape(operator)
    groups, (channels, columns) = shape.groups, operator.shapes[1][:2]
    if channels != shape.in_channels or columns * groups != shape.out_channels:
        return None
    macs = prod(shape.kernel) * shape.in_height * shape.in_width * channels * columns
    parts = list(_phases(shape))
    return _kernel("conv2d_transpose", operator, None, parts, groups, macs, products)


def _phases(shape: ConvShape) -> Iterator[_Part]:
    """The phases of the stride, see ``kernels.conv_transpose``."""
    groups = shape.groups
    for row, column, rows, columns in phases(shape):
        one = replace(phase_shape(shape, rows, columns), groups=1)

        def taps(
            array: np.ndarray,
            down: tuple[int, ...] = rows.taps,
            across: tuple[int, ...] = columns.taps,
            kernel: tuple[int, int] = one.kernel,
        ) -> np.ndarray:
            chosen = array[:, :, list(down)][:, :, :, list(across)]
            if not chosen.size:
                chosen = np.zeros((*array.shape[:2], *kernel), array.dtype)
            split = chosen.reshape(groups, -1, *chosen.shape[1:])
            return split.transpose(0, 2, 3, 4, 1).reshape(groups, array.shape[1], -1)

        yield _Part(_slice(one, groups), taps, row, column, shape.stride)


def _slice(shape: ConvShape, groups: int) -> ConvShape:
    return ConvShape(
        shape.batch,
        shape.in_height,
        shape.in_width,
        shape.in_channels // groups,
        shape.out_height,
        shape.out_width,
        shape.out_channels // groups,
        shape.kernel,
        shape.stride,
        shape.dilation,
        shape.padding,
    )


def _kernel(
    family: str,
    operator: Operator,
    rings: Rings | None,
    parts: Sequence[_Part],
    slices: int,
    macs: int,
    products: Products,
) -> CKernel | None:
    codes = codes_of(operator)
    if codes is None or operator.dtypes[1] != "int8" or operator.shapes[0][0] != 1:
        return None
    found = [products(_products_of(part, operator)) for part in parts]
    inner = [kernel for kernel in found if kernel is not None and kernel.pack is not None]
    if len(inner) < len(parts) or {kernel.function for kernel in inner} - set(LEAST_PRODUCTS):
        return None
    least = LEAST_PRODUCTS[inner[0].function]
    if any(part.depth * part.shape.out_channels < least for part in parts):
        return None
    layers, at, sizes = [], 0, []
    for part, kernel in zip(parts, inner, strict=True):
        words = _words(part, kernel)
        size, fields = _fields(part, kernel, operator, rings, slices)
        layers.append({**fields, "words": words, "weights": at, **_prefixed(kernel)})
        at += words * slices
        sizes.append(size)
    features = row_features(rings) | {"parts"}
    features |= {"parts-points"} if inner[0].function == "conv_points" else set()
    features |= {"parts-vector"} if inner[0].template == "mve_conv" else set()
    return CKernel(
        family,
        inner[0].template,
        "conv_parts",
        layers[0],
        inputs=(0,),
        constants=(1, 2, 3),
        pack=_pack(parts, inner, slices),
        features=frozenset(features.union(*(kernel.features for kernel in inner))),
        scratch_bytes=max(sizes),
        macs=macs,
        by_row=rings is not None,
        rows=((rings or {}).get(_OUTPUT, operator.shapes[-1][1]),),
        more=tuple(layers[1:]),
    )


def _products_of(part: _Part, operator: Operator) -> Operator:
    """Rows of windows times the weights of a slice."""
    depth, columns = part.depth, part.shape.out_channels
    arguments = {name: operator.arguments[name] for name in ("zero_point", "scaling", "output")}
    shapes = ((_ROWS, depth), (depth, columns), (columns,), (columns,), (_ROWS, columns))
    return Operator("quantized_matmul", arguments, shapes, operator.dtypes)


def _prefixed(kernel: CKernel) -> dict[str, int]:
    return {f"inner.{name}": value for name, value in kernel.layer.items()}


def _fields(
    part: _Part, inner: CKernel, operator: Operator, rings: Rings | None, slices: int
) -> tuple[int, dict[str, int]]:
    """Bytes of scratch, and the fields of ``struct parts`` but those of the weights."""
    shape = part.shape
    _, _, width, channels = operator.shapes[-1]
    results = _aligned(2 * part.depth)
    inner_at = results + _aligned(2 * shape.out_channels) if inner.scratch_bytes else 0
    size = inner_at + inner.scratch_bytes if inner_at else results + 2 * shape.out_channels
    touching = slices == 1 and shape.dilation[1] == 1
    return size, {
        **image_fields(shape, rings),
        "pitch": shape.in_channels * slices,
        "run": shape.kernel[1] if touching else 0,
        "slices": slices,
        "depth": part.depth,
        "start": (part.row * width + part.column) * channels,
        "row_step": part.steps[0] * width * channels,
        "column_step": part.steps[1] * channels,
        "zero": int(operator.arguments["zero_point"]),
        "results": results,
        "inner_at": inner_at,
    }


def _aligned(size: int) -> int:
    return size + -size % 8


def _words(part: _Part, inner: CKernel) -> int:
    """Of the block of one slice."""
    assert inner.pack is not None
    columns = part.shape.out_channels
    sides = np.zeros(columns, np.int32), np.ones(columns, np.int32)
    return len(inner.pack([np.zeros((part.depth, columns), np.int8), *sides]))


def _pack(parts: Sequence[_Part], inner: Sequence[CKernel], slices: int) -> Pack:
    """The blocks of all slices of all parts, as ``products`` has them."""

    def pack(constants: Sequence[np.ndarray]) -> np.ndarray:
        weights, bias, mantissa = constants
        sides = bias.reshape(slices, -1), mantissa.reshape(slices, -1)
        blocks = []
        for part, kernel in zip(parts, inner, strict=True):
            assert kernel.pack is not None
            for taps, *rest in zip(part.taps(weights), *sides, strict=True):
                blocks.append(kernel.pack([np.ascontiguousarray(taps.T), *rest]))
        return np.concatenate(blocks)

    return pack
