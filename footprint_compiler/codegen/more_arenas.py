"""Arenas in further memories of the target, beside the one that holds inputs and outputs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from footprint_compiler.memory.plan import MemoryPlan


@dataclass(frozen=True)
class MoreArena:
    """One more block that ``NAME_init`` is given.

    Attributes:
        pool: name of the target's pool.
        size_bytes: of the block.
        base: C variable that points to it.
        word: C identifier made from the pool's name: of the parameter, and the field.
    """

    pool: str
    size_bytes: int
    base: str
    word: str

    @property
    def macro(self) -> str:
        """The middle of the header's macros for it."""
        return f"ARENA_{self.word.upper()}"


def more_arenas(plan: MemoryPlan) -> tuple[MoreArena, ...]:
    """The arenas of a plan but the first, in the plan's order; none for a plan of one arena."""
    return tuple(
        MoreArena(pool, size_bytes, f"a{number}", f"pool_{re.sub(r'[^0-9a-z]', '_', pool.lower())}")
        for number, (pool, size_bytes) in enumerate(list(plan.arenas.items())[1:], 1)
    )
