"""The row form of a convolution.

Tuning records are measured on whole images and say nothing of single rows: these follow the default
schedule, and what they cost is compared with that of the default one. So a record changes neither
the rows nor the choice of what runs by rows, and with it the plan of the memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tvm import tirx

from footprint_compiler.kernels.conv import ConvShape
from footprint_compiler.kernels.decisions import deciding
from footprint_compiler.kernels.dot_units import conv_emitter
from footprint_compiler.kernels.fused import Fused
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.kernels.row_emit import with_rows
from footprint_compiler.kernels.row_work import row_work
from footprint_compiler.kernels.tir import index

if TYPE_CHECKING:
    from footprint_compiler.kernels.kernel import Kernel


def conv_rows(
    kernel: Kernel,
    fused: Fused,
    shape: ConvShape,
    machine: Machine,
    dtypes: tuple[str, str, str],
    position: int,
) -> Kernel:
    """``kernel`` with its row form.

    Args:
        kernel: of the whole image.
        fused: the convolution and its epilogue.
        shape: of the convolution.
        machine: vector unit.
        dtypes: of the input, the weights and the accumulator.
        position: of the weights among the parameters.
    """
    zero_point = int(fused.attrs.get("zero_point", 0))

    def one_row(h: Any) -> Any:
        return conv_emitter(shape, machine, dtypes, zero_point, h, not kernel.in_place)

    with deciding(None):
        whole = conv_emitter(shape.flattened(), machine, dtypes, zero_point)
        narrow = one_row(index(0))
    own = tirx.decl_buffer((index(narrow.packed_elements),), dtypes[1], name="packed")

    def row(h: Any) -> Any:
        def store(n: Any, at: Any, column: Any, channel: Any, value: Any) -> Any:
            return fused.store([n, at, column, channel], value)

        with deciding(None):
            return one_row(h).emit(fused.operands[0], own, store)

    at_once = whole.shape, whole.pixels, whole.vectors
    work = row_work(machine, at_once, (shape, narrow.pixels, narrow.vectors), dtypes[1])
    work *= whole.advantage  # one row is always convolved directly
    return with_rows(kernel, fused, shape, row, {position: narrow.pack}, {position: own}, work)
