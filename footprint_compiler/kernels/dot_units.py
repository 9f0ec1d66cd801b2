"""Which emitter and which unit a convolution gets."""

from __future__ import annotations

from typing import Any

from footprint_compiler.kernels.conv import ConvEmitter, ConvShape
from footprint_compiler.kernels.conv_int8 import DotConvEmitter
from footprint_compiler.kernels.conv_narrow import NarrowConvEmitter
from footprint_compiler.kernels.conv_winograd import WinogradEmitter
from footprint_compiler.kernels.conv_winograd_int8 import WinogradInt8Emitter
from footprint_compiler.kernels.decisions import choose
from footprint_compiler.kernels.dot import DotUnit, LaneUnit
from footprint_compiler.kernels.dot_rows import MatrixUnit, PairUnit
from footprint_compiler.kernels.dot_wide import WideUnit
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.kernels.winograd_cost import suits_int8, winograd_size

FEWEST_PIXELS = 8
"""Weights that are read for fewer pixels than this stay small."""
FEWEST = 4
"""Groups with fewer channels than this on either side are multiplied one by one."""


def conv_emitter(
    shape: ConvShape,
    machine: Machine,
    dtypes: tuple[str, str, str],
    zero_point: int = 0,
    row: Any = None,
    twice: bool = False,
) -> ConvEmitter | DotConvEmitter | NarrowConvEmitter | WinogradEmitter:
    """The emitter of a convolution.

    Args:
        shape: of the convolution.
        machine: vector unit.
        dtypes: of the input, the weights and the accumulator.
        zero_point: of the input.
        row: emit this output row alone.
        twice: an output may be computed and stored twice.
    """
    dtype, weights, accumulator = dtypes
    small = min(shape.in_channels, shape.out_channels) // shape.groups < FEWEST
    eight = dtype in ("int8", "uint8") and (weights, accumulator) == ("int8", "int32")
    if dtypes == ("float32",) * 3 and row is None and not machine.c_unit:
        size, advantage = winograd_size(shape, machine)
        if size and choose("algorithm", "winograd", ("winograd", "direct")) == "winograd":
            return WinogradEmitter(shape, machine, size, advantage)
    if dtypes == ("float32",) * 3 and NarrowConvEmitter.suits(shape, machine):
        return NarrowConvEmitter(shape, machine, row)
    if not machine.dot or not eight or (small and shape.groups > 1):
        return ConvEmitter(shape, machine, dtype, accumulator, zero_point, row)
    transformed = row is None and suits_int8(shape, machine)
    if transformed and choose("algorithm", "winograd", ("winograd", "direct")) == "winograd":
        return WinogradInt8Emitter(shape, machine, dtype, zero_point)
    return DotConvEmitter(shape, dot_unit(machine, shape, dtype), dtype, zero_point, row, twice)


def dot_unit(machine: Machine, shape: ConvShape, dtype: str) -> DotUnit:
    """The unit of ``machine`` for one convolution of ``dtype``."""
    kind, registers = machine.dot, machine.registers
    if kind == "smmla" and shape.out_width == 1:
        kind = "sdot"
    if kind == "smmla":
        return MatrixUnit(registers)
    if kind == "sdot":
        return LaneUnit("sdot", 4, registers, direct=True)
    if kind in ("smull", "vmull"):
        return PairUnit(kind == "vmull", registers, not machine.full_range)
    channels = shape.out_channels // shape.groups
    lanes = machine.lanes("int32")
    while lanes > 4 and lanes >= 2 * channels:
        lanes //= 2
    pixels = shape.batch * shape.out_height * shape.out_width
    if machine.wide_weights and pixels >= FEWEST_PIXELS:
        return WideUnit(kind, lanes, registers)
    return LaneUnit(kind, lanes, registers, direct=kind == "dpbusd" and dtype == "uint8")
