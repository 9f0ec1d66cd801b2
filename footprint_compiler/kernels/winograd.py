"""The transforms of Winograd's short convolutions F(m, 3), for m = 2 and m = 4.

    y = A^T [(G g) * (B^T d)]        m outputs from m + 2 inputs and 3 weights

with m + 2 products in the place of 3 m. Nested once in each direction they compute m x m outputs
with (m + 2)^2 products in the place of 9 m^2. The interpolation points are 0, 1, -1, infinity, and
for m = 4 also 2 and -2 (Lavin and Gray, "Fast algorithms for convolutional neural networks", 2015).
Weights are transformed at build time in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tvm import tirx

from footprint_compiler.kernels.tir import local, ramp, splat

_WEIGHTS = {
    2: [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
    4: [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
}


def transformed_weights(weights: np.ndarray, size: int) -> np.ndarray:
    """OIHW (O, C, 3, 3) -> (m + 2, m + 2, C, O): G g G^T."""
    g = np.asarray(_WEIGHTS[size], np.float64)
    wide = np.einsum("ai,bj,ocij->abco", g, g, weights.astype(np.float64))
    narrow: np.ndarray = wide.astype(weights.dtype)
    return narrow


class Lines:
    """Intermediate vectors: each is stored once in a local buffer, which becomes registers.

    Args:
        name: of the buffer.
        count: most values that will be kept.
        lanes, dtype: of each value.
    """

    def __init__(self, name: str, count: int, lanes: int, dtype: str) -> None:
        self.lanes = lanes
        self.dtype = dtype
        self.count = count
        self.buffer = local(name, count * lanes, dtype)
        self.statements: list[Any] = []
        self._used = 0

    def keep(self, value: Any) -> Any:
        """The value, computed here and loaded wherever it is used."""
        assert self._used < self.count
        where = [ramp(self._used * self.lanes, self.lanes)]
        self._used += 1
        self.statements.append(tirx.BufferStore(self.buffer, value, where))
        return tirx.BufferLoad(self.buffer, where)

    def times(self, factor: float, value: Any) -> Any:
        """A constant multiple."""
        return splat(tirx.const(factor, self.dtype), self.lanes) * value


Transform = Callable[[Lines, Sequence[Any]], list[Any]]


def input_transform(size: int) -> Transform:
    """B^T: m + 2 vectors from m + 2 vectors; at most 4 values are kept on the way."""
    return {2: _input2, 4: _input4}[size]


def output_transform(size: int) -> Transform:
    """A^T: m vectors from m + 2 vectors; at most 4 values are kept on the way."""
    return {2: _output2, 4: _output4}[size]


def _input2(_: Lines, d: Sequence[Any]) -> list[Any]:
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _output2(_: Lines, m: Sequence[Any]) -> list[Any]:
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]


def _input4(lines: Lines, d: Sequence[Any]) -> list[Any]:
    even = lines.keep(d[4] - lines.times(4, d[2]))
    odd = lines.keep(d[3] - lines.times(4, d[1]))
    near = lines.keep(d[4] - d[2])
    far = lines.keep(d[3] - d[1])
    return [
        lines.times(4, d[0]) - lines.times(5, d[2]) + d[4],
        even + odd,
        even - odd,
        near + lines.times(2, far),
        near - lines.times(2, far),
        lines.times(4, d[1]) - lines.times(5, d[3]) + d[5],
    ]


def _output4(lines: Lines, m: Sequence[Any]) -> list[Any]:
    sum_one = lines.keep(m[1] + m[2])
    difference_one = lines.keep(m[1] - m[2])
    sum_two = lines.keep(m[3] + m[4])
    difference_two = lines.keep(m[3] - m[4])
    return [
        m[0] + sum_one + sum_two,
        difference_one + lines.times(2, difference_two),
        sum_one + lines.times(4, sum_two),
        difference_one + lines.times(8, difference_two) + m[5],
    ]


def nested(
    transform: Transform, lines: Lines, load: Callable[[int, int], Any], inputs: int
) -> list[list[Any]]:
    """The transform along columns, then along rows, of ``inputs`` x ``inputs`` vectors."""
    columns = []
    for j in range(inputs):
        column = [lines.keep(load(i, j)) for i in range(inputs)]
        columns.append([lines.keep(value) for value in transform(lines, column)])
    rows = [[column[i] for column in columns] for i in range(len(columns[0]))]
    return [[lines.keep(value) for value in transform(lines, row)] for row in rows]


def most_lines(size: int) -> int:
    """Values that ``nested`` keeps at most."""
    return 2 * (size + 2) * (3 * (size + 2) + 4)
