"""How many more instructions a C kernel takes row by row than at once.

Depthwise kernels at once expand each row of the input once; by rows they expand all rows of a
window, and the weights, for each row of the output. Convolutions gather every window anyway; those
that work on pairs of pixels end a row of odd width with half a pair.
"""

from __future__ import annotations

from dataclasses import dataclass

from footprint_compiler.kernels.c.layer import along_rows
from footprint_compiler.kernels.conv import ConvShape


@dataclass(frozen=True)
class _Costs:
    """Instructions of a depthwise kernel for the channels that it works on together.

    Attributes:
        row, column: to expand a row, and each of its columns.
        tap, pixel: of a product and of the rest of an output, for all these channels.
        weight: to expand the weights of a tap.
    """

    row: float
    column: float
    tap: float
    pixel: float
    weight: float


_COSTS = {
    "dsp": _Costs(row=67, column=6.6, tap=6, pixel=30, weight=6),
    "dsp-wide": _Costs(row=67, column=6.6, tap=6, pixel=30, weight=6),
    "dsp-small": _Costs(row=50, column=6, tap=8, pixel=60, weight=6),
    "mve": _Costs(row=40, column=4, tap=6.5, pixel=22, weight=0),
    "thumb1": _Costs(row=40, column=6, tap=4, pixel=45, weight=6),
    "thumb2": _Costs(row=30, column=5, tap=3, pixel=15, weight=4),
    "rv32": _Costs(row=45, column=3.5, tap=3, pixel=16, weight=2),
}

_ALONE = {"dsp": 2, "dsp-wide": 2, "dsp-small": 2, "mve": 1.25, "thumb1": 2, "thumb2": 1.3}
"""Instructions of a pixel alone relative to those of one of a pair, in a convolution."""

_ONLY = 1.35
"""The same where all rows have one pixel, and the core a kernel for that."""

_UNEVEN = _Costs(row=67, column=25.5, tap=6, pixel=69, weight=6)
"""With SMLAD, where channels are no multiple of four and are expanded byte by byte."""


def row_work(shape: ConvShape, unit: str) -> float:
    """Estimated instructions of all rows relative to the kernel at once.

    Args:
        shape: of the operator.
        unit: a name that ``cores.unit_of`` gives.

    Returns:
        1 and what rows add, relative to a kernel for as many even channels: that is what the
        instructions at once are estimated by.
    """
    if shape.groups not in (1, shape.in_channels):
        return 1.0  # its parts are worked on row by row anyway
    if shape.groups == 1:
        width, rest = shape.out_width, shape.out_width % 2
        alone = _ONLY if width == 1 and unit == "thumb1" else _ALONE.get(unit, 1)
        return (width - rest + rest * alone) / width
    costs = usual = _COSTS[unit]
    if unit in ("dsp", "dsp-wide") and shape.in_channels % 4:
        costs = _UNEVEN
    more = _depthwise(shape, costs, by_row=True) - _depthwise(shape, costs, by_row=False)
    return 1 + more / _depthwise(shape, usual, by_row=False)


def _depthwise(shape: ConvShape, costs: _Costs, by_row: bool) -> float:
    """Instructions of one row of the output for the channels that are worked on together."""
    expand = costs.row + costs.column * shape.in_width
    taps = shape.kernel[0] * shape.kernel[1]
    compute = shape.out_width * (costs.pixel + costs.tap * taps)
    if by_row:
        return shape.kernel[0] * expand + costs.weight * taps + compute
    upright = along_rows(shape) is not shape
    return (costs.column if upright else expand) * shape.stride[0] + compute
