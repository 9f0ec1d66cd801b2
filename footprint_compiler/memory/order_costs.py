"""What running the calls of a program in some order costs, as sums over sets of calls.

Which storages are live depends only on the *set* of calls done so far, never on their order, so a
set is a complete state of the search. A call adds the storages that it touches first and frees
those that it touches last. Storages are counted at their size rounded up to the alignment; that
offsets may do worse is checked on finished plans.
"""

from __future__ import annotations

from dataclasses import dataclass

from footprint_compiler.memory.storages import Location, check_accesses, locate_tensors
from footprint_compiler.program import KernelCall, Program
from footprint_compiler.tensor import DTYPE_BYTES


@dataclass(frozen=True)
class Step:
    """One call as the search sees it; sets of calls are bit masks.

    Attributes:
        needs: calls that must be done before.
        touches: storages that it reads or writes.
        scratch_bytes: of its temporaries.
        pairs: (source storage, result storage) that it may compute in place.
    """

    needs: int
    touches: tuple[str, ...]
    scratch_bytes: int
    pairs: tuple[tuple[str, str], ...]


class OrderCosts:
    """Live bytes of sets of calls, and the bytes that one more call needs."""

    def __init__(self, program: Program, align_bytes: int) -> None:
        locations = locate_tensors(program)
        check_accesses(program, locations)
        self.sizes = {
            location.storage: _round_up(program.tensors[location.storage].size_bytes, align_bytes)
            for location in locations.values()
        }
        self.given = {locations[spec.name].storage for spec in program.inputs}
        self.returned = {locations[spec.name].storage for spec in program.outputs}
        needs = _needs(program, locations)
        self.steps = [
            _step(program, locations, call, needs[index], align_bytes)
            for index, call in enumerate(program.calls)
        ]
        self.users = dict.fromkeys(self.sizes, 0)
        for index, step in enumerate(self.steps):
            for name in step.touches:
                self.users[name] |= 1 << index

    def start_bytes(self) -> int:
        """Live bytes before the first call: the model's inputs that are used."""
        return sum(
            self.sizes[name] for name in self.given if self.users[name] or name in self.returned
        )

    def run(self, done: int, live_bytes: int, index: int) -> tuple[int, int]:
        """(bytes needed while call ``index`` runs, live bytes after it), after the set ``done``."""
        step = self.steps[index]
        after = done | 1 << index
        born = {
            name for name in step.touches if name not in self.given and not self.users[name] & done
        }
        dead = {
            name
            for name in step.touches
            if name not in self.returned and not self.users[name] & ~after
        }
        top = live_bytes + sum(self.sizes[name] for name in born)
        shared: set[str] = set()
        saved = 0
        for source, result in step.pairs:
            if source in dead - born - shared and result in born - shared:
                shared |= {source, result}
                saved += self.sizes[result]
        left = top - sum(self.sizes[name] for name in dead)
        return top - saved + step.scratch_bytes, left

    def least_peak(self) -> int:
        """No order needs less: every call needs what it touches, with all pairs in place."""
        least = self.start_bytes()
        for step in self.steps:
            needed = sum(self.sizes[name] for name in step.touches) + step.scratch_bytes
            results = {result for _, result in step.pairs}
            least = max(least, needed - sum(self.sizes[name] for name in results))
        return least

    def peak(self, order: list[int]) -> int:
        """Bytes that this order needs, if it is one that respects what calls need."""
        done, live = 0, self.start_bytes()
        peak = live
        for index in order:
            needed, live = self.run(done, live, index)
            peak = max(peak, needed)
            done |= 1 << index
        return peak


def _round_up(value: int, align: int) -> int:
    return value + -value % align


def _needs(program: Program, locations: dict[str, Location]) -> list[int]:
    """Per call, the calls that write any byte that it reads, or an empty tensor that it reads."""
    writers: dict[str, list[tuple[Location, str, int]]] = {}
    for index, call in enumerate(program.calls):
        for name in call.outputs:
            location = locations[name]
            writers.setdefault(location.storage, []).append((location, name, index))
    needs = [0] * len(program.calls)
    for index, call in enumerate(program.calls):
        for name in call.inputs:
            if name not in locations:
                continue
            read = locations[name]
            for written, tensor, writer in writers.get(read.storage, []):
                start = max(read.offset_bytes, written.offset_bytes)
                if tensor == name or start < min(read.end_bytes, written.end_bytes):
                    needs[index] |= 1 << writer
    return needs


def _step(
    program: Program,
    locations: dict[str, Location],
    call: KernelCall,
    needs: int,
    align_bytes: int,
) -> Step:
    arguments = [
        locations[name].storage if name in locations else ""
        for name in (*call.inputs, *call.outputs)
    ]
    pairs = []
    for output, input_ in call.in_place:
        source, result = call.inputs[input_], call.outputs[output]
        if source in program.constants or not _alike(program, locations, source, result):
            continue
        owners = locations[source].storage, locations[result].storage
        if all(arguments.count(owner) == 1 for owner in owners):
            pairs.append(owners)
    return Step(
        needs=needs,
        touches=tuple(name for name in dict.fromkeys(arguments) if name),
        scratch_bytes=sum(_round_up(block.size_bytes, align_bytes) for block in call.scratch),
        pairs=tuple(pairs),
    )


def _alike(program: Program, locations: dict[str, Location], source: str, result: str) -> bool:
    """Whether both are all of their storage, of equally wide elements, the result not longer."""
    specs = [program.tensors[name] for name in (source, result)]
    owners = [program.tensors[locations[name].storage] for name in (source, result)]
    widths = {DTYPE_BYTES[spec.dtype] for spec in specs}
    given, written = (spec.size_bytes for spec in specs)
    whole = [owner.size_bytes for owner in owners] == [given, written]
    return len(widths) == 1 and whole and given >= written > 0
