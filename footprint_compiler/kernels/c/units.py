"""The C kernel of an operator, if there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from footprint_compiler.kernels.c import dsp, mve, scalar
from footprint_compiler.kernels.c.cores import CROSSED
from footprint_compiler.kernels.c.float_ends import dequantize, moves_nothing, quantize
from footprint_compiler.kernels.c.kernel import CKernel
from footprint_compiler.kernels.c.layer import Rings, conv_shape
from footprint_compiler.kernels.c.multiply import whole_operands
from footprint_compiler.kernels.c.operator import Operator, read_operator
from footprint_compiler.kernels.c.parts import Products, grouped, transposed
from footprint_compiler.kernels.c.resize import resize
from footprint_compiler.kernels.c.row_work import row_work
from footprint_compiler.streaming.window import Window

_GENERATORS: dict[str, dict[str, Callable[[Operator, Rings | None], CKernel | None]]] = {
    **{
        f"dsp{form and '-'}{form}{CROSSED if crossed else ''}": dsp.generators(form, crossed)
        for form in ("", "wide", "small")
        for crossed in (False, True)
    },
    "mve": mve.GENERATORS,
    "thumb1": scalar.generators("thumb1"),
    "thumb2": scalar.generators("thumb2"),
    "rv32": scalar.generators("rv32"),
}


_COMMON: dict[str, Callable[[Operator, Rings | None], CKernel | None]] = {
    "dequantize_linear": dequantize,
    "quantize_linear": quantize,
}
"""Generators of all sets of kernels."""

_RESIZE = {"dsp": "saturate", "thumb2": "saturate", "mve": "mve", "rv32": ""}
"""Beginning of the names of sets -> what they have for linear resizing."""

_IN_PARTS: dict[str, Callable[[Operator, Rings | None, Products], CKernel | None]] = {
    "quantized_conv2d": grouped,
    "quantized_conv2d_transpose": transposed,
}
"""Generators that build on the products of a set."""

_WHOLE_OPERANDS: dict[str, Callable[[Operator], tuple[int, ...]]] = {
    "quantized_add": lambda _: (0, 1),
    "quantized_multiply": whole_operands,
    "lookup": lambda _: (0,),
    "dequantize_linear": lambda _: (0,),
    "quantize_linear": lambda operator: (0,) if moves_nothing(operator) else (),
}
"""Elementwise operators -> their operands of the shape of the result."""

_FUSED_GLADLY = frozenset({"lookup"})
"""Operators that are worth no kernel of their own where they can join another one."""


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
    if operator.name == "quantized_weights_of_two":
        feature = _RESIZE.get(unit.split("-", 1)[0])
        return None if feature is None else resize(operator, rings, feature)
    generators = {**_COMMON, **_GENERATORS[unit]}
    generator = generators.get(operator.name)
    kernel = generator(operator, rings) if generator else None
    if kernel is not None or operator.name not in _IN_PARTS or unit == "rv32":
        return kernel
    if operator.name == "quantized_conv2d_transpose":  # its sums are along other axes of weights
        generators = _GENERATORS[unit.removesuffix(CROSSED)]
    products = generators["quantized_matmul"]
    return _IN_PARTS[operator.name](operator, rings, lambda rows: products(rows, None))


def stays_apart(func: Any, unit: str) -> bool:
    """Whether a TIR function has a C kernel that is worth more than joining another function."""
    operator = read_operator(func) if unit else None
    if operator is None or operator.name in _FUSED_GLADLY:
        return False
    return generate(operator, unit) is not None


def row_windows(func: Any, unit: str) -> tuple[int, dict[int, Window], float] | None:
    """How the C kernel of ``func`` goes by rows, or None where it does not.

    Returns:
        Rows of the output, the windows by parameter index, and the work, as in ``RowForm``.
    """
    operator = read_operator(func)
    if operator is None or generate(operator, unit, {}) is None:
        return None
    shape = operator.shapes[-1]
    if len(shape) != 4 or shape[0] != 1 or shape[1] == 1:
        return None
    if operator.name in _WHOLE_OPERANDS:
        whole = _WHOLE_OPERANDS[operator.name](operator)
        return shape[1], dict.fromkeys(whole, Window(shape[1])), 1.0
    sizes = conv_shape(operator)
    span = (sizes.kernel[0] - 1) * sizes.dilation[0] + 1
    window = Window(sizes.in_height, sizes.stride[0], sizes.padding[0], span)
    return shape[1], {0: window}, row_work(sizes, unit.removesuffix(CROSSED))
