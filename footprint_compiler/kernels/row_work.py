"""How much more work a convolution is row by row than over all its pixels at once.

A tile of P pixels and V vectors of channels loads P + V operands for P * V products. Over all
pixels of a pointwise convolution tiles are full; over one row the last may be narrow, and where a
row is narrower than a tile all are, perhaps with more vectors instead. Weights that do not fit a
first-level cache come from the second level for each row.
"""

from __future__ import annotations

from footprint_compiler.kernels.conv import ConvShape
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.tensor import DTYPE_BYTES

CACHE_BYTES = 32 * 1024
BYTES_PER_CYCLE = 32
"""From the second-level cache."""


def row_work(
    machine: Machine,
    at_once: tuple[ConvShape, int, int],
    by_row: tuple[ConvShape, int, int],
    dtype: str,
) -> float:
    """Estimated instructions by rows relative to those at once.

    Args:
        machine: vector unit; without one there is no cache either, and integers have so few
            registers that the pixels of a tile say nothing.
        at_once, by_row: shape of the loop nest, pixels and vectors of its tile.
        dtype: of the weights.
    """
    if not machine.vector_bits and not dtype.startswith("float"):
        return 1.0
    work = _tiles(*by_row) / _tiles(*at_once)
    shape, width = by_row[0], DTYPE_BYTES[dtype]
    taps = shape.kernel[0] * shape.kernel[1] * shape.in_channels // shape.groups
    weights_bytes = taps * shape.out_channels * width
    if not machine.vector_bits or weights_bytes <= CACHE_BYTES:
        return work
    lanes = machine.vector_bits // 8 // width
    products = taps * shape.out_channels * shape.out_width / (2 * lanes)
    return work + weights_bytes / BYTES_PER_CYCLE / products


def _tiles(shape: ConvShape, pixels: int, vectors: int) -> float:
    """Products and loads over all rows, for each vector of channels and step of the sum.

    A load counts half: it issues beside a product, as ``choose_tile`` has it.
    """

    def tile(count: int) -> float:
        return (count * vectors + (count + vectors) / 2) / vectors if count else 0.0

    full, rest = divmod(shape.out_width, pixels)
    return shape.batch * shape.out_height * (full * tile(pixels) + tile(rest))
