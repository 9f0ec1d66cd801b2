"""Which bytes of an artifact go into which memory of its target."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from footprint_compiler.targets import Target

# Part of a footprint -> what a pool must hold to get it (``Pool.holds``).
PLACES = {
    "arena_bytes": "activations",
    "context_bytes": "context",
    "stack_bytes": "stack",
    "static_bytes": "activations",
    "weights_ram_bytes": "activations",
    "pages_bytes": "activations",
    "code_bytes": "code",
    "constants_bytes": "code",
    "weights_bytes": "weights",
}


@dataclass(frozen=True)
class PoolUse:
    """One memory of the target.

    Attributes:
        name, kind: as in the target's file.
        size_bytes: its capacity.
        parts: part of the footprint -> bytes of it here; parts without bytes are left out.
    """

    name: str
    kind: str
    size_bytes: int
    parts: Mapping[str, int] = field(default_factory=dict)

    @property
    def used_bytes(self) -> int:
        """Sum of the parts."""
        return sum(self.parts.values())

    @property
    def macro(self) -> str:
        """The middle of the header's macro for it."""
        return "POOL_" + re.sub(r"\W", "_", self.name).upper()

    def as_json(self) -> dict[str, Any]:
        """An entry of ``footprint.pools`` in the manifest."""
        return {
            "name": self.name,
            "kind": self.kind,
            "size_bytes": self.size_bytes,
            "used_bytes": self.used_bytes,
            "parts": dict(self.parts),
        }


def use_of_pools(
    target: Target, sizes: Mapping[str, int], arenas: Mapping[str, int]
) -> tuple[PoolUse, ...]:
    """Every memory of the target, in its order, with what lies there.

    Each part goes into the first pool that holds its kind; where none does, to the arena's.

    Args:
        sizes: part -> bytes; parts that ``PLACES`` does not name are ignored.
        arenas: pool -> bytes of the arena there; replaces ``arena_bytes`` of ``sizes``.
    """
    held: dict[str, dict[str, int]] = {pool.name: {} for pool in target.pools}
    for name, size_bytes in arenas.items():
        held[name]["arena_bytes"] = size_bytes
    for part, content in PLACES.items():
        if part == "arena_bytes" or not sizes.get(part):
            continue
        pool = next((p for p in target.pools if content in p.holds), target.arena_pool)
        held[pool.name][part] = sizes[part]
    return tuple(
        PoolUse(pool.name, pool.kind, pool.size_bytes, held[pool.name]) for pool in target.pools
    )
