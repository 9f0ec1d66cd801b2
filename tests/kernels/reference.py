"""Operators in float64 (or int64), written from their definitions, and error bounds for float32.

Bounds: a sum of n products in any order, with or without fused multiply-add, differs from the
exact one by at most (n + 1) u sum |x| |w|, with u half the spacing of the dtype at 1 (Higham,
"Accuracy and Stability of Numerical Algorithms", section 3.1, to first order).
"""

from __future__ import annotations

from typing import Any

import numpy as np


def unit_roundoff(dtype: Any) -> float:
    return float(np.finfo(dtype).eps) / 2


def wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64 if array.dtype.kind == "f" else np.int64)


def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """x (N, H, W, C), w (O, C/groups, KH, KW), padding (top, left, bottom, right)."""
    x, w = wide(x), wide(w)
    top, left, bottom, right = padding
    x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    batch, height, width, _ = x.shape
    out_channels, group_in, kernel_height, kernel_width = w.shape
    out_height = (height - (kernel_height - 1) * dilation[0] - 1) // stride[0] + 1
    out_width = (width - (kernel_width - 1) * dilation[1] - 1) // stride[1] + 1
    grouped = w.reshape(groups, out_channels // groups, group_in, kernel_height, kernel_width)
    total = np.zeros((batch, out_height, out_width, out_channels), x.dtype)
    for i in range(kernel_height):
        for j in range(kernel_width):
            rows = slice(i * dilation[0], i * dilation[0] + (out_height - 1) * stride[0] + 1)
            columns = slice(j * dilation[1], j * dilation[1] + (out_width - 1) * stride[1] + 1)
            taps = x[:, rows, columns][:, :: stride[0], :: stride[1]]
            taps = taps.reshape(batch, out_height, out_width, groups, group_in)
            part = np.einsum("nhwgc,goc->nhwgo", taps, grouped[:, :, :, i, j])
            total += part.reshape(total.shape)
    return total


def conv2d_bound(x: np.ndarray, w: np.ndarray, **geometry: Any) -> np.ndarray:
    """Largest error of a float convolution in the dtype of ``x``."""
    terms = int(np.prod(w.shape[1:]))
    bound: np.ndarray = (
        (terms + 1) * unit_roundoff(x.dtype) * conv2d(np.abs(x), np.abs(w), **geometry)
    )
    return bound


def conv2d_transpose(
    x: np.ndarray,
    w: np.ndarray,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    output_padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """x (N, H, W, C), w (C, O/groups, KH, KW): every input element adds its kernel to the output;
    then the padding is cut away."""
    x, w = wide(x), wide(w)
    batch, height, width, channels = x.shape
    _, group_out, *kernel = w.shape
    full = [
        (size - 1) * stride[a] + (kernel[a] - 1) * dilation[a] + 1 + output_padding[a]
        for a, size in enumerate((height, width))
    ]
    total = np.zeros((batch, *full, group_out * groups))
    group_in = channels // groups
    for r, s, c, i, j in np.ndindex(height, width, channels, *kernel):
        outputs = slice(c // group_in * group_out, (c // group_in + 1) * group_out)
        row, column = r * stride[0] + i * dilation[0], s * stride[1] + j * dilation[1]
        total[:, row, column, outputs] += x[:, r, s, c, None] * w[c, :, i, j]
    top, left, bottom, right = padding
    return total[:, top : full[0] - bottom, left : full[1] - right]


def pool2d(
    x: np.ndarray,
    kind: str,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int] = (1, 1),
    ceil_mode: bool = False,
    include_pad: bool = False,
) -> np.ndarray:
    """ "max" or "avg" over NHWC, element by element; ceil_mode's overhang is never counted."""
    x = wide(x)
    top, left, bottom, right = padding
    batch, height, width, channels = x.shape
    before, after = (top, left), (bottom, right)
    sizes = (height, width)
    out = []
    for axis in range(2):
        free = sizes[axis] + before[axis] + after[axis] - (kernel[axis] - 1) * dilation[axis] - 1
        out.append((-(-free // stride[axis]) if ceil_mode else free // stride[axis]) + 1)
    result = np.zeros((batch, *out, channels))
    for h in range(out[0]):
        for w in range(out[1]):
            values, count = [], 0
            for i in range(kernel[0]):
                for j in range(kernel[1]):
                    row = h * stride[0] + i * dilation[0] - top
                    column = w * stride[1] + j * dilation[1] - left
                    if 0 <= row < height and 0 <= column < width:
                        values.append(x[:, row, column])
                    if row < height + bottom and column < width + right:
                        count += 1
            if kind == "max":
                result[:, h, w] = np.max(values, axis=0)
            else:
                result[:, h, w] = sum(values) / (count if include_pad else len(values))
    return result
