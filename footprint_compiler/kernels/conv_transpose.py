"""Transposed convolution NHWC as one direct convolution per phase of the stride.

out[n, h, w, o] = sum x[n, r, s, c] * W[c, o, i, j] over r*sh + i*dh = h + pt, s*sw + j*dw = w + pl.

Output rows of one phase (h = q*sh + a) meet the same kernel rows, and those, in reverse order, are
an ordinary convolution with stride 1 over the input. Nothing is inserted between input elements.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np

from footprint_compiler.kernels.conv import ConvEmitter, ConvShape, Store
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.kernels.tir import index, seq


@dataclass(frozen=True)
class PhaseAxis:
    """One phase along one axis: which taps, and the convolution that they make."""

    taps: tuple[int, ...]
    dilation: int
    before: int
    count: int


def _phase(
    offset: int, out: int, kernel: int, stride: int, dilation: int, before: int
) -> PhaseAxis:
    count = -(-(out - offset) // stride)
    taps = [i for i in range(kernel) if (offset + before - i * dilation) % stride == 0]
    if not taps:
        return PhaseAxis((), 1, 0, count)
    step = stride // gcd(stride, dilation) * dilation // stride
    first = (offset + before - taps[0] * dilation) // stride
    return PhaseAxis(tuple(reversed(taps)), max(step, 1), (len(taps) - 1) * step - first, count)


def phases(shape: ConvShape) -> Iterator[tuple[int, int, PhaseAxis, PhaseAxis]]:
    """(first row, first column, along rows, along columns) of every phase."""
    for row in range(min(shape.stride[0], shape.out_height)):
        for column in range(min(shape.stride[1], shape.out_width)):
            rows, columns = (
                _phase(
                    at,
                    out,
                    shape.kernel[i],
                    shape.stride[i],
                    shape.dilation[i],
                    shape.padding[i],
                )
                for i, (at, out) in enumerate(((row, shape.out_height), (column, shape.out_width)))
            )
            yield row, column, rows, columns


def phase_shape(shape: ConvShape, rows: PhaseAxis, columns: PhaseAxis) -> ConvShape:
    """Sizes of the ordinary convolution, with stride 1, that computes a phase."""
    return ConvShape(
        shape.batch,
        shape.in_height,
        shape.in_width,
        shape.in_channels,
        rows.count,
        columns.count,
        shape.out_channels,
        (max(1, len(rows.taps)), max(1, len(columns.taps))),
        (1, 1),
        (rows.dilation, columns.dilation),
        (rows.before, columns.before, 0, 0),
        shape.groups,
    )


@dataclass(frozen=True)
class _Part:
    row: int
    column: int
    rows: PhaseAxis
    columns: PhaseAxis
    emitter: ConvEmitter
    offset: int


class ConvTransposeEmitter:
    """Emits the loop nests of all phases.

    Args:
        shape: sizes as of the transposed convolution: ``kernel``, ``stride``, ``dilation`` and
            ``padding`` are its own, height and width those of its input and output.
        zero_point: subtracted from every input element.
    """

    def __init__(
        self, shape: ConvShape, machine: Machine, dtype: str, acc_dtype: str, zero_point: int = 0
    ) -> None:
        self.shape = shape
        self.parts: list[_Part] = []
        offset = 0
        for row, column, rows, columns in phases(shape):
            small = phase_shape(shape, rows, columns)
            emitter = ConvEmitter(small, machine, dtype, acc_dtype, zero_point)
            self.parts.append(_Part(row, column, rows, columns, emitter, offset))
            offset += emitter.packed_elements
        self.packed_elements = offset

    @property
    def macs(self) -> int:
        """Multiply-accumulates: every input element meets every tap."""
        shape = self.shape
        per_input = shape.kernel[0] * shape.kernel[1] * shape.out_channels // shape.groups
        return shape.batch * shape.in_height * shape.in_width * shape.in_channels * per_input

    def pack(self, weights: np.ndarray) -> np.ndarray:
        """IOHW (C, O/groups, KH, KW) -> the packed weights of every phase, one after the other."""
        groups = self.shape.groups
        channels, group_out, height, width = weights.shape
        split = weights.reshape(groups, channels // groups, group_out, height, width)
        oihw = split.transpose(0, 2, 1, 3, 4).reshape(-1, channels // groups, height, width)
        packed = []
        for part in self.parts:
            if part.rows.taps and part.columns.taps:
                chosen = oihw[:, :, list(part.rows.taps)][:, :, :, list(part.columns.taps)]
            else:
                kernel = part.emitter.shape.kernel
                chosen = np.zeros((*oihw.shape[:2], *kernel), weights.dtype)
            packed.append(part.emitter.pack(chosen))
        return np.concatenate(packed)

    def emit(self, x: Any, packed: Any, store: Store) -> Any:
        """All phases; ``store`` writes one output element (n, h, w, channel, value)."""
        stride = self.shape.stride

        def placed(part: _Part) -> Store:
            return lambda n, h, w, c, value: store(
                n,
                h * index(stride[0]) + index(part.row),
                w * index(stride[1]) + index(part.column),
                c,
                value,
            )

        return seq([part.emitter.emit(x, packed, placed(part), part.offset) for part in self.parts])
