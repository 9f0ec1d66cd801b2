"""What a kernel generator needs to know of a core: vector width, registers, issue."""

from __future__ import annotations

from dataclasses import dataclass

from footprint_compiler.tensor import DTYPE_BYTES


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
