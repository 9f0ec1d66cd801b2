"""What a kernel generator needs to know of a core: vector width, registers, issue."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

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
    """

    vector_bits: int
    registers: int
    fma_latency: int = 4

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
    if limits.vector_bits:
        return Machine(limits.vector_bits, limits.vector_registers)
    hard_float = target.tvm.get("mfloat-abi") == "hard"
    return Machine(0, 30 if hard_float else 6, 3 if hard_float else 1)
