"""What blocks of code cost a microcontroller: instructions, and cycles where there is a model."""

from __future__ import annotations

from footprint_compiler.runners.cycles import block_cycles, has_model, jump_cycles
from footprint_compiler.runners.decode import Decoder
from footprint_compiler.targets import Target


class Microcontroller:
    """One core; flash without wait states.

    Args:
        target: bare metal, Thumb or 32-bit RISC-V.

    Attributes:
        name: of the model of its cycles; empty where there is none.
        jump: cycles of a taken branch beyond its own.
        width: instructions that are taken to start at once in code that hardly ever runs.
    """

    width = 1

    def __init__(self, target: Target) -> None:
        self._core = str(target.tvm.get("mcpu", ""))
        thumb = str(target.tvm["mtriple"]).startswith("thumb")
        self._decoder = Decoder("thumb" if thumb else "riscv32")
        known = has_model(self._core)
        self.name = f"{self._core} model" if known else ""
        self.jump = jump_cycles(self._core, 0) if known else 0

    def count(self, code: bytes, address: int) -> int:
        """Instructions of a block."""
        return len(self._decoder.steps(code, address))

    def cycles(self, code: bytes, address: int) -> float:
        """Cycles of a block that leaves by running on into the next one."""
        return block_cycles(self._core, self._decoder.steps(code, address), 0)
