"""Constants of a layer -> the block that its C function reads."""

from __future__ import annotations

import numpy as np

WORD = np.dtype("<i4")

CROSSED_BITS = 8
"""Sums over crossed weights are 2^8 times the sums of products."""
CROSSED_REST = 129
"""And hold so many times the sum of the odd weights besides."""


def scaled(mantissa: np.ndarray, left: int) -> tuple[int, np.ndarray]:
    """(shift, multipliers) for cores that have the high half of a 64-bit product.

    With S = shift and M' = multiplier, both below their words' limits,

        ((acc << S) * M' + 2^31) >> 32  ==  ((acc << left) * M + 2^30) >> 31

    exactly: S + log2(M' / M) = left + 1. As many of these bits as the largest mantissa leaves room
    for go into M', because a shift of 0 is the common case. An accumulator of a layer that
    ``lower-qdq`` accepts is below 2^(30 - left), so that the shift loses nothing.
    """
    room = 31 - max(1, int(np.abs(mantissa).max(initial=0))).bit_length()
    moved = min(room, left + 1)
    return left + 1 - moved, mantissa.astype(np.int64) << moved


def sized(array: np.ndarray, axis: int, multiple: int) -> np.ndarray:
    """``array`` with zeros appended along ``axis`` up to a multiple of ``multiple``."""
    missing = -array.shape[axis] % multiple
    widths = [(0, missing if i == axis else 0) for i in range(array.ndim)]
    return np.pad(array, widths)


def words(array: np.ndarray) -> np.ndarray:
    """Bytes as little-endian words; the last axis is a multiple of four."""
    return np.ascontiguousarray(array.astype(np.int8)).view(WORD)


def pairs(array: np.ndarray) -> np.ndarray:
    """Each four bytes as two words of 16-bit values: bytes 0 and 2, then 1 and 3."""
    fours = array.astype("<i2").reshape(*array.shape[:-1], -1, 2, 2)
    return np.ascontiguousarray(np.swapaxes(fours, -1, -2)).view(WORD)[..., 0]


def crossed_words(array: np.ndarray) -> np.ndarray:
    """Each four weights w0 to w3 as the pair of 256 w0 - w1 and 256 w2 - w3, in 16 bits.

    No weight is -128: then -w1 is the low byte with its sign.
    """
    fours = array.astype(np.int64).reshape(*array.shape[:-1], -1, 2)
    halves = (fours[..., 0] << CROSSED_BITS) - fours[..., 1]
    return np.ascontiguousarray(halves.astype("<i2")).view(WORD)


def can_cross(weights: np.ndarray, bias: np.ndarray) -> bool:
    """Whether crossed sums are exact: see ``crossed_words``; 2^8 times a sum of differences of two
    codes, times weights, and a bias fits in 32 bits.

    Args:
        weights: int8 (O, I, H, W) or (K, N).
        bias: int32 (O,) or (N,).
    """
    if weights.size == 0 or int(weights.min()) == -128:
        return False
    rows = weights.reshape(len(weights), -1) if weights.ndim == 4 else weights.T
    sums = np.abs(rows.astype(np.int64)).sum(axis=1) * 255 + np.abs(bias.astype(np.int64))
    return int(sums.max()) < 1 << (31 - CROSSED_BITS)
