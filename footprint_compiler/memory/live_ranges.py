"""From a program to the storages that need an offset: their size, alignment and live range.

Step i is the call i; live ranges are half-open, ``[first_step, end_step)``.

- Model inputs are all written by the caller before step 0, so each is live from step 0, and at
  least during step 0 even when nothing reads it: writing one never damages another.
- Model outputs are live until the end, which is ``max(len(calls), 1)``.
- Anything else is live from the call that writes it to the last call that reads it, inclusive; a
  result that nothing reads is live during its own step, as the kernel still writes there.
- A storage with views is live from the first to the last access to any of them.
- Scratch is live during its step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from footprint_compiler.errors import PlanError
from footprint_compiler.memory.in_place import share_in_place
from footprint_compiler.memory.storages import Location, check_accesses, locate_tensors
from footprint_compiler.program import Program
from footprint_compiler.tensor import DTYPE_BYTES


@dataclass(frozen=True)
class Storage:
    """Bytes that get one offset.

    Attributes:
        name: of the first tensor that owns them, or of the scratch block.
        size_bytes, align_bytes: what to reserve.
        first_step, end_step: half-open live range.
        owners: tensors computed in place one after the other, all at offset 0 of the storage;
            one alone where nothing is in place; the scratch block's name for scratch.
    """

    name: str
    size_bytes: int
    align_bytes: int
    first_step: int
    end_step: int
    owners: tuple[str, ...]


def naive_bytes(program: Program, storages: Iterable[Storage]) -> int:
    """Sum of what every owner takes alone: no reuse, nothing in place."""
    owners = [(owner, storage) for storage in storages for owner in storage.owners]
    return sum(
        program.tensors[owner].size_bytes if owner in program.tensors else storage.size_bytes
        for owner, storage in owners
    )


def scratch_name(step: int, index: int) -> str:
    """Name of scratch block ``index`` of step ``step`` in a plan."""
    return f"scratch:{step}:{index}"


def owner_ranges(program: Program, locations: dict[str, Location]) -> dict[str, tuple[int, int]]:
    """Owning tensor -> (first_step, end_step), views counted in, before anything is in place.

    Raises:
        PlanError: a tensor is never accessed, so that it has no live range.
    """
    end = max(len(program.calls), 1)
    ranges: dict[str, tuple[int, int]] = {}

    def touch(name: str, first: int, last: int) -> None:
        owner = locations[name].storage
        low, high = ranges.get(owner, (first, last))
        ranges[owner] = min(low, first), max(high, last)

    for spec in program.inputs:
        touch(spec.name, 0, 1)
    for step, call in enumerate(program.calls):
        for name in (*call.inputs, *call.outputs):
            if name in locations:
                touch(name, step, step + 1)
    for spec in program.outputs:
        touch(spec.name, end - 1, end)
    for name, location in locations.items():
        if location.storage not in ranges:
            raise PlanError(f"tensor {name!r} is never written or read")
    return {name: ranges[name] for name in locations if name in ranges}


def live_storages(program: Program, align_bytes: int) -> tuple[Storage, ...]:
    """Every storage of the program, tensors in the program's order, then scratch by step.

    Args:
        program: checked on the way.
        align_bytes: alignment of every storage of a tensor, at least; more where its elements
            are wider. Scratch has its own.

    Raises:
        PlanError: the program is not sound (see ``storages``).
    """
    locations = locate_tensors(program)
    check_accesses(program, locations)
    ranges = owner_ranges(program, locations)
    widest: dict[str, int] = {}
    for name, location in locations.items():
        width = DTYPE_BYTES[program.tensors[name].dtype]
        widest[location.storage] = max(width, widest.get(location.storage, 1))
    storages = [
        Storage(
            name=owners[0],
            size_bytes=max(program.tensors[owner].size_bytes for owner in owners),
            align_bytes=max(align_bytes, *(widest[owner] for owner in owners)),
            first_step=min(ranges[owner][0] for owner in owners),
            end_step=max(ranges[owner][1] for owner in owners),
            owners=owners,
        )
        for owners in share_in_place(program, locations, ranges)
    ]
    for step, call in enumerate(program.calls):
        for index, block in enumerate(call.scratch):
            name = scratch_name(step, index)
            storages.append(
                Storage(name, block.size_bytes, block.align_bytes, step, step + 1, (name,))
            )
    return tuple(storages)
