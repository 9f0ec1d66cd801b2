"""How much flash and RAM an artifact takes, from its objects and its plan."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from elftools.elf.elffile import ELFFile

from footprint_compiler.codegen.sections import linked_sections
from footprint_compiler.errors import CodegenError


@dataclass(frozen=True)
class Footprint:
    """Bytes of one artifact.

    Attributes:
        code_bytes: instructions and the constants among them; the weights are not in it.
        weights_bytes: the block of weights, wherever it lies.
        arena_bytes, stack_bytes, context_bytes: RAM while the model runs; inputs and outputs
            of the model are in the arena.
        static_bytes: writable globals of the library: none.
    """

    code_bytes: int
    weights_bytes: int
    arena_bytes: int
    stack_bytes: int
    context_bytes: int
    static_bytes: int = 0

    @property
    def flash_bytes(self) -> int:
        """Code and weights."""
        return self.code_bytes + self.weights_bytes

    @property
    def ram_bytes(self) -> int:
        """Arena, stack, context and globals."""
        return self.arena_bytes + self.stack_bytes + self.context_bytes + self.static_bytes

    def as_json(self) -> dict[str, Any]:
        """The entry ``footprint`` of the manifest."""
        return {
            "ram": {
                "arena_bytes": self.arena_bytes,
                "stack_bytes": self.stack_bytes,
                "context_bytes": self.context_bytes,
                "static_bytes": self.static_bytes,
                "total_bytes": self.ram_bytes,
            },
            "flash": {
                "code_bytes": self.code_bytes,
                "weights_bytes": self.weights_bytes,
                "total_bytes": self.flash_bytes,
            },
        }


def measure_code(objects: Sequence[bytes], roots: Iterable[str]) -> int:
    """Bytes of everything that the functions ``roots`` of ``objects`` need in memory.

    Raises:
        CodegenError: an object has writable data, which an artifact must not have.
    """
    sections = linked_sections(objects, roots)
    for section in sections:
        if section.is_writable:
            raise CodegenError(
                f"{section.size_bytes} bytes of global data in section {section.name}"
            )
    return sum(section.size_bytes for section in sections)


def measure_context(entry_object: bytes) -> int:
    """``sizeof(NAME_ctx)``: two pointers and 32 bits, padded to the pointer's alignment."""
    pointer_bytes = int(ELFFile(io.BytesIO(entry_object)).elfclass) // 8
    return 3 * pointer_bytes
