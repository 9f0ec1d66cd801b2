"""The C kernel of an operator, if there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from footprint_compiler.kernels.c import dsp, mve, scalar
from footprint_compiler.kernels.c.kernel import CKernel
from footprint_compiler.kernels.c.layer import Rings, conv_shape
from footprint_compiler.kernels.c.operator import Operator, read_operator
from footprint_compiler.kernels.c.row_work import row_work
from footprint_compiler.streaming.window import Window

_GENERATORS: dict[str, dict[str, Callable[[Operator, Rings | None], CKernel | None]]] = {
    "dsp": dsp.generators(wide=False),
    "dsp-wide": dsp.generators(wide=True),
    "mve": mve.GENERATORS,
    "thumb1": scalar.generators(thumb1=True),
    "thumb2": scalar.generators(thumb1=False),
}


def c_kernel(func: Any, unit: str, rings: Rings | None = None) -> CKernel | None:
    """The C kernel of a TIR function that is one whole quantized operator, or None.

    Args:
        func: structured TIR.
        unit: a name that ``cores.unit_of`` gives.
        rings: parameter index -> rows of its ring, for the kernel of one output row.
    """
    operator = read_operator(func) if unit else None
    return None if operator is None else generate(operator, unit, rings)


def generate(operator: Operator, unit: str, rings: Rings | None = None) -> CKernel | None:
    """The C kernel of an operator, or None; arguments as of ``c_kernel``."""
    generator = _GENERATORS[unit].get(operator.name)
    return generator(operator, rings) if generator else None


def row_window(func: Any, unit: str) -> tuple[int, Window, float] | None:
    """How the C kernel of ``func`` goes by rows: output rows, window of its input, work; or None.

    The work is as in ``RowForm``.
    """
    operator = read_operator(func)
    if operator is None or operator.name != "quantized_conv2d":
        return None
    shape = conv_shape(operator)
    if shape.batch != 1 or shape.out_height == 1 or c_kernel(func, unit, {}) is None:
        return None
    span = (shape.kernel[0] - 1) * shape.dilation[0] + 1
    window = Window(shape.in_height, shape.stride[0], shape.padding[0], span)
    return shape.out_height, window, row_work(shape, unit)
