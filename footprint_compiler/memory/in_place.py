"""Which outputs take over the storage of an input of the same call.

A kernel offers pairs (output, input); a pair is taken when overwriting the input can change no
value that anything still means:

- the input is a tensor (not a constant) and its storage dies at this step, and is not returned;
- their elements have as many bytes each (a kernel promises order by element only, so a narrower
  output could overtake the reading of a wider input), and the output has no more of them;
- both are all of their storage, so that no other view is dragged along, and the output's storage
  is born at this step (an empty part of it could have been written before);
- no other argument of the call lies in either storage.

Pairs are tried in the order of the call, and the first that is sound is taken. Model inputs may be
overwritten: the caller writes them anew before each inference.
"""

from __future__ import annotations

from footprint_compiler.memory.storages import Location
from footprint_compiler.program import KernelCall, Program
from footprint_compiler.tensor import DTYPE_BYTES


def share_in_place(
    program: Program,
    locations: dict[str, Location],
    ranges: dict[str, tuple[int, int]],
) -> list[tuple[str, ...]]:
    """Partition the owning tensors into groups that share one storage, in the program's order.

    Args:
        program: with sound views and accesses.
        locations: of every tensor, relative to its owner.
        ranges: owner -> live range without in-place sharing.

    Returns:
        One tuple of owners per storage; inside it, in order of execution.
    """
    group: dict[str, tuple[str, ...]] = {owner: (owner,) for owner in ranges}
    returned = {locations[spec.name].storage for spec in program.outputs}

    def sound(call: KernelCall, step: int, output: int, input_: int) -> bool:
        source, result = call.inputs[input_], call.outputs[output]
        if source in program.constants or not _fits(program, source, result):
            return False
        source_owner, result_owner = locations[source].storage, locations[result].storage
        for name, owner in ((source, source_owner), (result, result_owner)):
            if program.tensors[name].size_bytes != program.tensors[owner].size_bytes:
                return False
        if ranges[source_owner][1] != step + 1 or source_owner in returned:
            return False
        if ranges[result_owner][0] != step:
            return False
        taken = {*group[source_owner], *group[result_owner]}
        others = (
            *call.inputs[:input_],
            *call.inputs[input_ + 1 :],
            *call.outputs[:output],
            *call.outputs[output + 1 :],
        )
        return not any(name in locations and locations[name].storage in taken for name in others)

    for step, call in enumerate(program.calls):
        for output, input_ in call.in_place:
            if not sound(call, step, output, input_):
                continue
            source_owner = locations[call.inputs[input_]].storage
            result_owner = locations[call.outputs[output]].storage
            if group[source_owner] is group[result_owner]:
                continue
            merged = (*group[source_owner], *group[result_owner])
            for owner in merged:
                group[owner] = merged
    return list(dict.fromkeys(group.values()))


def _fits(program: Program, source: str, result: str) -> bool:
    given, written = program.tensors[source], program.tensors[result]
    same_width = DTYPE_BYTES[given.dtype] == DTYPE_BYTES[written.dtype]
    return same_width and given.size_bytes >= written.size_bytes > 0
