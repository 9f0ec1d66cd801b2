"""What a kernel generator needs to know of a core: vector width, registers, issue."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from footprint_compiler.kernels.c.cores import float_unit_of, unit_for_constants, unit_of
from footprint_compiler.targets.llvm import target_features
from footprint_compiler.tensor import DTYPE_BYTES

if TYPE_CHECKING:
    from footprint_compiler.targets import Target


@dataclass(frozen=True)
class Machine:
    """Register file of the vector (or scalar floating-point) unit.

    Attributes:
        vector_bits: width of one register; 0 when there is no vector unit.
        registers: number of architectural registers of that unit.
        fma_latency: cycles from one accumulation to the next into the same register.
        dot: the instruction for sums of 8-bit products, as ``kernels.dot_units`` names it, or
            empty where products are widened one by one.
        full_range: an 8-bit weight may be -128.
        c_unit: the set of C kernels for int8 layers, as ``kernels.c.cores`` names it; empty where
            TIR serves them best.
        c_float: the set of C kernels for float32 layers, likewise.
        by_lane: float32 vectors are multiplied by one lane of a register, so that neighbouring
            factors are loaded together (NEON).
        wide_weights: PMADDWD reads weights of 8 bits that are stored as int16.
    """

    vector_bits: int
    registers: int
    fma_latency: int = 4
    dot: str = ""
    full_range: bool = True
    c_unit: str = ""
    c_float: str = ""
    by_lane: bool = False
    wide_weights: bool = False

    def chunk(self, dtype: str) -> int:
        """Steps of a reduction whose broadcast factors are loaded together."""
        return self.lanes(dtype) if self.by_lane and dtype == "float32" else 1

    def input_registers(self, pixels: int, dtype: str) -> int:
        """Registers that the broadcast factors of so many pixels take."""
        return pixels if self.chunk(dtype) > 1 else 1

    def for_constants(self, arrays: Iterable[np.ndarray]) -> Machine:
        """The unit as a kernel with these constants, in the order of its parameters, may use it."""
        found = list(arrays)
        full = any(a.dtype == np.int8 and a.size and a.min() == -128 for a in found)
        return replace(self, full_range=full, c_unit=unit_for_constants(self.c_unit, found))

    def lanes(self, dtype: str) -> int:
        """Elements of ``dtype`` in one register; 1 without a vector unit."""
        return max(1, self.vector_bits // (8 * DTYPE_BYTES[dtype]))

    def for_products(self, dtype: str, acc_dtype: str) -> tuple[Machine, str]:
        """The unit and the operand dtype for sums of products of ``dtype`` elements.

        Units of 128 bits multiply 16-bit lanes into 32-bit ones (SMLAL, PMADDWD) but are slow or
        unable to multiply 32-bit lanes: quantized operands are widened to 16 bits there, and an
        accumulator is a pair of registers. Everything else computes in ``acc_dtype``.
        """
        if dtype in ("int8", "uint8") and acc_dtype == "int32" and self.vector_bits == 128:
            pairs = replace(self, vector_bits=256, registers=self.registers // 2)
            return pairs, "int16"
        return self, acc_dtype


def machine_of(target: Target) -> Machine:
    """The unit that computes float32 on ``target``.

    Without vectors that is the scalar FPU (32 single registers, two kept for operands), or, in
    soft float, the integer registers that a call of the helper functions leaves alone.
    """
    limits = target.limits
    triple = str(target.tvm["mtriple"])
    core = str(target.tvm.get("mcpu", "")) if target.is_bare_metal else ""
    features = target_features(target) if triple.startswith("riscv") else frozenset()
    hard_float = target.tvm.get("mfloat-abi") == "hard"
    c_unit = unit_of(core, triple if core else "", features)
    c_float = float_unit_of(core) if hard_float else ""
    if limits.vector_bits:
        return Machine(
            limits.vector_bits,
            limits.vector_registers,
            dot=dot_instruction(triple, target_features(target)),
            c_unit=c_unit,
            c_float=c_float,
            by_lane=triple.startswith(("aarch64", "arm")),
        )
    registers, latency = (30, 3) if hard_float else (6, 1)
    return Machine(0, registers, latency, c_unit=c_unit, c_float=c_float)


def dot_instruction(mtriple: str, features: frozenset[str]) -> str:
    """The best instruction for sums of 8-bit products that a vector unit has.

    Args:
        mtriple: LLVM triple.
        features: LLVM's names.
    """
    if mtriple.startswith("x86_64"):
        wide = "avx512vnni" in features and "avx512vl" in features
        return "dpbusd" if wide or "avxvnni" in features else "madd"
    if mtriple.startswith("aarch64"):
        return "smmla" if "i8mm" in features else "sdot" if "dotprod" in features else "smull"
    return "vmull" if mtriple.startswith("arm") else ""
