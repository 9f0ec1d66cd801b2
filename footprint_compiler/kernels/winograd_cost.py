"""Whether Winograd's convolution is cheaper than the direct one, and with which m."""

from __future__ import annotations

from footprint_compiler.kernels.conv import ConvShape
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.kernels.tile import best_tile

_TRANSFORMS = {2: (80, 60), 4: (260, 180)}
"""m -> instructions for the inputs and the outputs of one tile and vector."""
CACHE_BYTES = 1 << 15
FEWEST_ELEMENTS = 128
"""What the register file must hold for m = 4, whose tiles have 36 vectors: Armv7 has half."""
INT8_TRANSFORMS = (100, 70)
"""The same for m = 2 in int16 and int32."""
MOST_CHANNELS = 203
"""Input channels for which nothing exceeds int32: nine sums, each of a product of 4 * 255 and
9 * 128 for every channel, are below 2^31."""


def winograd_size(shape: ConvShape, machine: Machine) -> tuple[int, float]:
    """The m of the cheapest F(m x m, 3 x 3), and how many times cheaper it is than direct
    convolution; (0, 1.0) where that is cheaper or no other is possible.

    Costs are estimated vector instructions. A transform of one vector of channels takes about as
    many as are given in ``_TRANSFORMS``; weights that do not fit the first-level cache cost their
    loads once more for each block of tiles.
    """
    width = machine.lanes("float32")
    narrow = min(shape.in_channels, shape.out_channels) < width
    if not _plain(shape) or width == 1 or narrow:
        return 0, 1.0
    products = shape.in_channels * shape.out_channels / width
    direct = shape.batch * 9 * shape.out_height * shape.out_width * products
    best, best_cost = 0, direct
    for size, (before, after) in _TRANSFORMS.items():
        if size == 4 and width * machine.registers < FEWEST_ELEMENTS:
            continue
        tiles = shape.batch * -(-shape.out_height // size) * -(-shape.out_width // size)
        pixels, _ = best_tile(machine, "float32", tiles, shape.out_channels)
        matrix = (size + 2) ** 2 * products
        cached = matrix * width * 4 <= CACHE_BYTES
        cost = tiles * matrix * (1.1 + (0 if cached else 1 / pixels))
        cost += tiles * (shape.in_channels * before + shape.out_channels * after) / width
        if cost < best_cost:
            best, best_cost = size, cost
    return best, direct / best_cost


def suits_int8(shape: ConvShape, machine: Machine) -> bool:
    """Whether F(2 x 2, 3 x 3) in integers is cheaper than the sums of 8-bit products there are.

    Only where these are two products of int16, or as slow: four or more 8-bit products in one
    instruction are faster without a transform.
    """
    even = shape.in_channels % 8 == 0 and shape.out_channels % 8 == 0
    if machine.dot not in ("madd", "smull", "vmull") or not _plain(shape) or not even:
        return False
    if shape.in_channels > MOST_CHANNELS:
        return False
    lanes = machine.lanes("int32")
    rate = 2.0 * lanes if machine.dot == "madd" else 4.0  # products in one instruction
    products = shape.in_channels * shape.out_channels / rate
    tiles = shape.batch * -(-shape.out_height // 2) * -(-shape.out_width // 2)
    before, after = INT8_TRANSFORMS
    cost = tiles * 16 * products * 1.2
    cost += tiles * (shape.in_channels * before / 2 + shape.out_channels * after) / lanes
    direct = shape.batch * 9 * shape.out_height * shape.out_width * products
    return cost < (direct if machine.dot == "madd" else 0.85 * direct)


def _plain(shape: ConvShape) -> bool:
    unit = shape.stride == (1, 1) and shape.dilation == (1, 1)
    return shape.kernel == (3, 3) and unit and shape.groups == 1
