"""The C kernel of an operator, if there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from footprint_compiler.kernels.c import dsp, mve, scalar
from footprint_compiler.kernels.c.kernel import CKernel
from footprint_compiler.kernels.c.layer import Rings
from footprint_compiler.kernels.c.operator import Operator, read_operator

_GENERATORS: dict[str, dict[str, Callable[[Operator, Rings | None], CKernel | None]]] = {
    "dsp": dsp.GENERATORS,
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
    if operator is None:
        return None
    generate = _GENERATORS[unit].get(operator.name)
    return generate(operator, rings) if generate else None
