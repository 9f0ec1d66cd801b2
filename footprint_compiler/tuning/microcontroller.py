"""What blocks of code cost a microcontroller: instructions, and cycles where there is a model."""

from __future__ import annotations

from collections.abc import Sequence

from footprint_compiler.runners.cycles import block_cycles, has_model, jump_cycles
from footprint_compiler.runners.decode import Decoder
from footprint_compiler.targets import Target
from footprint_compiler.tuning.flow import MINOR, Block, Read, joined


class Microcontroller:
    """One core; flash without wait states.

    Args:
        target: bare metal, Thumb or 32-bit RISC-V.

    Attributes:
        name: of the model of its cycles; empty where there is none.
        jump: cycles of a taken branch beyond its own.
    """

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

    def kernel_cycles(self, blocks: Sequence[Block], read: Read) -> float:
        """Cycles of all that a kernel executed; what is hardly ever executed takes one each."""
        together = joined(blocks)
        executed = sum(block.size * block.executed for block in together)
        total = 0.0
        for block in together:
            code = read(block.address, block.size)
            if block.size * block.executed < MINOR * executed:
                once = self.count(code, block.address)
            else:
                once = block_cycles(self._core, self._decoder.steps(code, block.address), 0)
            total += once * block.executed + self.jump * block.jumped
        return total
