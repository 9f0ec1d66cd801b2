"""How much flash and RAM an artifact takes, from its objects and its plan."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from elftools.elf.elffile import ELFFile

from footprint_compiler.codegen.pool_use import PoolUse
from footprint_compiler.codegen.sections import Section, linked_sections
from footprint_compiler.codegen.threads import pool_words
from footprint_compiler.errors import CodegenError

_UNWIND_INDEX = ".ARM.exidx"
_CANNOT_UNWIND = (1).to_bytes(4, "little")


@dataclass(frozen=True)
class Footprint:
    """Bytes of one artifact.

    Attributes:
        code_bytes: instructions, with the literals among them.
        weights_bytes: the block of weights, wherever it lies; 0 when they are paged.
        arena_bytes, stack_bytes, context_bytes: RAM while the model runs; inputs and outputs
            of the model are in the arena.
        static_bytes: writable globals of the library: none.
        constants_bytes: read-only data of the code: tables, messages, unwind tables.
        weights_ram_bytes: the copy of the weights that is made at init, or 0.
        pages_bytes: the buffer of paged weights, or 0.
        pools: the same bytes by memory of the target.
        threads: of an inference, the caller's among them.
        thread_stack_bytes: stack of each other thread.
    """

    code_bytes: int
    weights_bytes: int
    arena_bytes: int
    stack_bytes: int
    context_bytes: int
    static_bytes: int = 0
    constants_bytes: int = 0
    pools: tuple[PoolUse, ...] = ()
    weights_ram_bytes: int = 0
    pages_bytes: int = 0
    threads: int = 1
    thread_stack_bytes: int = 0

    @property
    def flash_bytes(self) -> int:
        """Code, constants and weights."""
        return self.code_bytes + self.constants_bytes + self.weights_bytes

    @property
    def ram_bytes(self) -> int:
        """Arena, stacks, context, globals, and weights or their pages."""
        alone = self.arena_bytes + self.stack_bytes + self.context_bytes + self.static_bytes
        return alone + self.threads_bytes + self.weights_ram_bytes + self.pages_bytes

    @property
    def threads_bytes(self) -> int:
        """Stacks of the threads other than the caller's."""
        return (self.threads - 1) * self.thread_stack_bytes

    def as_json(self) -> dict[str, Any]:
        """The entry ``footprint`` of the manifest."""
        return {
            "ram": {
                "arena_bytes": self.arena_bytes,
                "stack_bytes": self.stack_bytes,
                "context_bytes": self.context_bytes,
                "static_bytes": self.static_bytes,
                **({"threads_bytes": self.threads_bytes} if self.threads > 1 else {}),
                **({"weights_bytes": self.weights_ram_bytes} if self.weights_ram_bytes else {}),
                **({"pages_bytes": self.pages_bytes} if self.pages_bytes else {}),
                "total_bytes": self.ram_bytes,
            },
            "flash": {
                "code_bytes": self.code_bytes,
                "constants_bytes": self.constants_bytes,
                "weights_bytes": self.weights_bytes,
                "total_bytes": self.flash_bytes,
            },
            "pools": [pool.as_json() for pool in self.pools],
        }


class CodeSize(NamedTuple):
    """Bytes of the linked code, and of the read-only data that comes with it."""

    code_bytes: int
    constants_bytes: int


def measure_code(objects: Sequence[bytes], roots: Iterable[str]) -> CodeSize:
    """What the functions ``roots`` of ``objects`` need in memory, as a linker lays it out.

    Sections keep the order of the objects, each at its alignment; equal entries of sections that
    may be merged count once, and so do equal neighbours in the unwind index of Arm. Code is exact;
    of merged entries a linker may drop those that only functions left out refer to.

    Raises:
        CodegenError: an object has writable data, which an artifact must not have.
    """
    sections = linked_sections(objects, roots)
    for section in sections:
        if section.is_writable:
            raise CodegenError(
                f"{section.size_bytes} bytes of global data in section {section.name}"
            )
    index = [section for section in sections if section.name.startswith(_UNWIND_INDEX)]
    entries: dict[tuple[int, int], set[bytes]] = {}
    plain = []
    for section in sections:
        if section.entry_bytes:
            size = section.entry_bytes
            kept = entries.setdefault((size, max(size, section.align_bytes)), set())
            kept |= {section.data[i : i + size] for i in range(0, section.size_bytes, size)}
        elif not section.is_executable and section not in index:
            plain.append(section)
    constants = _laid_out(plain) + sum(size * len(kept) for (size, _), kept in entries.items())
    code = _laid_out([section for section in sections if section.is_executable])
    return CodeSize(code, constants + _unwind_index_bytes(index))


def _laid_out(sections: Sequence[Section]) -> int:
    end = 0
    for section in sections:
        end += -end % section.align_bytes + section.size_bytes
    return end


def _unwind_index_bytes(sections: Sequence[Section]) -> int:
    """Entries of two words; of neighbours with an equal second word one is kept, and an end mark.

    Source: Exception handling ABI for the Arm architecture; the second word is the same for all
    functions that cannot be unwound.
    """
    words = [
        section.data[i + 4 : i + 8] for section in sections for i in range(0, section.size_bytes, 8)
    ]
    if not words:
        return 0
    runs = 1 + sum(
        one != other or one != _CANNOT_UNWIND for one, other in itertools.pairwise(words)
    )
    return 8 * (runs + 1)


def measure_context(entry_object: bytes, threads: int = 1, more_pointers: int = 0) -> int:
    """``sizeof(NAME_ctx)``: two pointers and 32 bits, padded to the pointer's alignment; a pointer
    to each further arena and to a pager, with several threads also their pool.
    """
    pointer_bytes = int(ELFFile(io.BytesIO(entry_object)).elfclass) // 8
    if threads == 1:
        return (3 + more_pointers) * pointer_bytes
    return -(-3 * pointer_bytes // 8) * 8 + 8 * pool_words(threads)
