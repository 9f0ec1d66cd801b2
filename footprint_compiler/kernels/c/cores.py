"""Which set of C kernels a core runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

import numpy as np

from footprint_compiler.kernels.c.weights import can_cross

CROSSED = "-crossed"
"""End of the names of sets that store weights crossed, as ``weights.crossed_words``."""

_UNITS = {
    "cortex-m0plus": "thumb1",
    "cortex-m3": "thumb2",
    "cortex-m4": "dsp",
    "cortex-m7": "dsp",
    "cortex-m33": "dsp",
    "cortex-m55": "mve",
}
"""LLVM's name of a core -> its kernels; TIR elsewhere."""

_FLOAT_UNITS = {
    "cortex-m4": "fpu",
    "cortex-m7": "fma",
    "cortex-m33": "fpu",
    "cortex-m55": "mve-f",
}
"""LLVM's name of a core with a floating-point unit -> its kernels for float32.

On Cortex-M4 a VFMA takes three cycles, a VMUL and a VADD take one each (its technical reference
manual, DDI 0439), and LLVM's model has Cortex-M33 avoid VFMA, too; Cortex-M7 is pipelined.
"""


def float_unit_of(mcpu: str) -> str:
    """The set of float32 kernels for a core with its floating-point unit, or an empty string."""
    return _FLOAT_UNITS.get(mcpu, "")


def unit_of(mcpu: str, mtriple: str = "", features: Set[str] = frozenset()) -> str:
    """The set of C kernels for a bare-metal core, or an empty string.

    Args:
        mtriple, features: as LLVM names them; they tell RISC-V, whose cores have many names. Its
            kernels multiply, and use more registers than RV32E has.
    """
    if mtriple.startswith("riscv32"):
        return "rv32" if "m" in features and "e" not in features else ""
    return _UNITS.get(mcpu, "")


def fast_unit(unit: str) -> str:
    """The set that spends flash on speed, or the same where there is none."""
    return "dsp-wide" if unit == "dsp" else unit


def small_unit(unit: str, operators: Iterable[str]) -> str:
    """The set that spends speed on flash, or the same where there is none.

    Args:
        unit: a name that ``unit_of`` gives.
        operators: names of the quantized operators of the model. Dense layers alone are not worth
            a kernel for convolutions.
    """
    return "dsp-small" if unit == "dsp" and "quantized_conv2d" in operators else unit


def unit_for_constants(unit: str, arrays: Sequence[np.ndarray]) -> str:
    """The set for a layer with these constants: weights, biases and mantissas, in this order."""
    if not unit.startswith("dsp") or len(arrays) < 2:
        return unit
    weights, bias = arrays[:2]
    linear = weights.dtype == np.int8 and weights.ndim in (2, 4)
    if not linear or bias.dtype != np.int32 or bias.ndim != 1:
        return unit
    if len(bias) != weights.shape[0 if weights.ndim == 4 else 1]:
        return unit  # of a transposed convolution
    return unit + CROSSED if can_cross(weights, bias) else unit
