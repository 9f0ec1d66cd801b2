"""Where every tensor lies relative to the tensor that owns its bytes, and whether that is sound.

A storage is the bytes of a tensor that is not a view, named after it. What must hold, for offsets
to be all that a plan has to choose:

- a view lies inside its base, at a multiple of its element size;
- every byte of a storage is written at most once, by a model input or by one call, so that no
  value can be overwritten through a view while another tensor still means the old one;
- every byte that a call reads, or that the model returns, was written before.
"""

from __future__ import annotations

from dataclasses import dataclass

from footprint_compiler.errors import PlanError
from footprint_compiler.program import Program
from footprint_compiler.tensor import DTYPE_BYTES


@dataclass(frozen=True)
class Location:
    """``[offset_bytes, end_bytes)`` of the storage named ``storage``."""

    storage: str
    offset_bytes: int
    end_bytes: int


def locate_tensors(program: Program) -> dict[str, Location]:
    """Tensor name -> location, for every tensor of the program, in the program's order.

    Raises:
        PlanError: a name is unknown, ambiguous or in a cycle, or a view leaves its base.
    """
    _check_names(program)
    views = {view.tensor: view for view in program.views}
    found: dict[str, Location] = {}
    for name in program.tensors:
        chain = [name]
        while chain[-1] in views and chain[-1] not in found:
            base = views[chain[-1]].base
            if base in chain:
                raise PlanError(f"tensor {name!r} is a view of itself")
            chain.append(base)
        for tensor in reversed(chain):
            if tensor in found:
                continue
            size = program.tensors[tensor].size_bytes
            if tensor not in views:
                found[tensor] = Location(tensor, 0, size)
                continue
            base_location = found[views[tensor].base]
            start = base_location.offset_bytes + views[tensor].offset_bytes
            location = Location(base_location.storage, start, start + size)
            if start < base_location.offset_bytes or location.end_bytes > base_location.end_bytes:
                raise PlanError(f"view {tensor!r} leaves its base {views[tensor].base!r}")
            if start % DTYPE_BYTES[program.tensors[tensor].dtype]:
                raise PlanError(f"view {tensor!r} splits the elements of {location.storage!r}")
            found[tensor] = location
    return {name: found[name] for name in program.tensors}


def _check_names(program: Program) -> None:
    for name in program.tensors:
        if name in program.constants:
            raise PlanError(f"{name!r} is both a tensor and a constant")
        if name.startswith("scratch:"):
            raise PlanError(f"tensor {name!r} has a name reserved for scratch blocks")
    for spec in (*program.inputs, *program.outputs):
        if spec.name not in program.tensors:
            raise PlanError(f"model input or output {spec.name!r} is not a tensor of the program")
        if spec.size_bytes != program.tensors[spec.name].size_bytes:
            raise PlanError(f"model input or output {spec.name!r} has two sizes")
    seen: set[str] = set()
    for view in program.views:
        for name in (view.tensor, view.base):
            if name not in program.tensors:
                raise PlanError(f"view of {view.base!r}: {name!r} is not a tensor of the program")
        if view.tensor in seen:
            raise PlanError(f"tensor {view.tensor!r} is a view twice")
        seen.add(view.tensor)
    for step, call in enumerate(program.calls):
        where = f"step {step} ({call.kernel})"
        for name in call.inputs:
            if name not in program.tensors and name not in program.constants:
                raise PlanError(f"{where} reads {name!r}, which does not exist")
        for name in call.outputs:
            if name not in program.tensors:
                raise PlanError(f"{where} writes {name!r}, which is not a tensor of the program")
        for output, input_ in call.in_place:
            if not (0 <= output < len(call.outputs) and 0 <= input_ < len(call.inputs)):
                raise PlanError(f"{where} has the in-place pair {(output, input_)}: out of range")


class _WrittenBytes:
    """Disjoint byte ranges of one storage, each with the tensor whose writing filled it."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int, str]] = []

    def overlapping(self, location: Location) -> list[tuple[int, int, str]]:
        return [
            (start, end, name)
            for start, end, name in self.ranges
            if max(start, location.offset_bytes) < min(end, location.end_bytes)
        ]

    def covers(self, location: Location) -> bool:
        inside = sum(
            min(end, location.end_bytes) - max(start, location.offset_bytes)
            for start, end, _ in self.overlapping(location)
        )
        return inside == location.end_bytes - location.offset_bytes


def check_accesses(program: Program, locations: dict[str, Location]) -> None:
    """Check that bytes are written once, and before they are read.

    Raises:
        PlanError: naming the step and the tensors.
    """
    storages: dict[str, _WrittenBytes] = {}
    for location in locations.values():
        storages.setdefault(location.storage, _WrittenBytes())

    def write(name: str, who: str) -> None:
        location = locations[name]
        storage = storages[location.storage]
        for _, _, earlier in storage.overlapping(location):
            raise PlanError(f"{who} writes {name!r} over bytes already written as {earlier!r}")
        storage.ranges.append((location.offset_bytes, location.end_bytes, name))

    def read(name: str, who: str) -> None:
        location = locations[name]
        if not storages[location.storage].covers(location):
            raise PlanError(f"{who} reads {name!r} before all of it is written")

    for spec in program.inputs:
        write(spec.name, "the caller")
    for step, call in enumerate(program.calls):
        who = f"step {step} ({call.kernel})"
        for name in call.inputs:
            if name in locations:
                read(name, who)
        for name in call.outputs:
            write(name, who)
    for spec in program.outputs:
        read(spec.name, "the caller")
