"""A build that keeps every tensor of the model that its kernels write, as one more output.

After each kernel call that completes such a tensor, one more call copies it, in the model's order
of axes, to bytes behind the arena that nothing else uses. The kernels and the offsets of all other
tensors stay as they are, so that what is copied is what the build without copies computes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from tvm import te

from footprint_compiler.graph import Graph
from footprint_compiler.kernels.emit import emit_kernel
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.memory import MemoryPlan, Placement, verify_plan
from footprint_compiler.passes.trace_values import Place
from footprint_compiler.program import KernelCall, Program, View
from footprint_compiler.tensor import TensorSpec

Extent = tuple[str, int, int]
"""(tensor that owns the bytes, first byte, end)."""


@dataclass(frozen=True)
class Kept:
    """One tensor of the model, as a kernel leaves it.

    Attributes:
        spec: of the ONNX tensor.
        source: tensor of the program with the same elements.
        perm: axis ``perm[i]`` of the source is axis ``i`` of the tensor.
        step: the call that completes it.
        names: all tensors of the model in the same bytes, this one first.
        reads: tensors of the model, kept ones and inputs, that the call reads.
        is_output: of the model; then nothing is copied.
    """

    spec: TensorSpec
    source: str
    perm: tuple[int, ...]
    step: int
    names: tuple[str, ...]
    reads: tuple[str, ...] = ()
    is_output: bool = False


def find_kept(
    program: Program, graph: Graph, places: Mapping[str, Place], labels: Mapping[Any, str]
) -> tuple[Kept, ...]:
    """The tensors that can be kept, in order of execution.

    Args:
        places: ONNX tensor -> variable of the last graph, in the model's order.
        labels: variable of the last graph -> tensor of the program.
    """
    extents = _extents(program)
    given = {spec.name for spec in program.inputs}
    outputs = {spec.name for spec in program.outputs}
    groups: dict[Extent, list[tuple[str, str, tuple[int, ...]]]] = {}
    for name, place in places.items():
        label = labels.get(place.var)
        if label in extents and name not in (given | outputs):
            groups.setdefault(extents[label], []).append((name, label, place.perm))
    for spec in program.outputs:  # in the model's order of axes, whatever lies in the graph
        plain = tuple(range(len(spec.shape)))
        groups.setdefault(extents[spec.name], []).append((spec.name, spec.name, plain))
    found = []
    for extent, members in groups.items():
        steps = _writers(program, extents, extent)
        if not steps or extent in {extents[name] for name in given}:
            continue
        members.sort(key=lambda member: member[0] not in outputs)
        name, label, perm = members[0]
        source = program.tensors[label]
        shape = tuple(source.shape[axis] for axis in perm)
        spec = graph.metadata.get("specs", {}).get(name) or replace(source, name=name)
        if (spec.shape, spec.dtype) != (shape, source.dtype):
            continue  # only a part of it is ever in memory
        names = tuple(member[0] for member in members)
        found.append(Kept(spec, label, perm, max(steps), names, is_output=name in outputs))
    found.sort(key=lambda kept: kept.step)
    return tuple(replace(kept, reads=_reads(program, extents, kept, found)) for kept in found)


def _extents(program: Program) -> dict[str, Extent]:
    return {
        name: (owner, offset, offset + program.tensors[name].size_bytes)
        for name, (owner, offset) in program.storage_of().items()
    }


def _meet(one: Extent, other: Extent) -> bool:
    return one[0] == other[0] and max(one[1], other[1]) < min(one[2], other[2])


def _writers(program: Program, extents: Mapping[str, Extent], extent: Extent) -> list[int]:
    return [
        step
        for step, call in enumerate(program.calls)
        if any(_meet(extents[output], extent) for output in call.outputs)
    ]


def _reads(
    program: Program, extents: Mapping[str, Extent], kept: Kept, others: list[Kept]
) -> tuple[str, ...]:
    """What the calls that write this tensor read, followed back through tensors not kept."""
    known = {extents[spec.name]: spec.name for spec in program.inputs}
    known |= {extents[other.source]: other.spec.name for other in others}
    found: dict[str, None] = {}
    seen: set[int] = set()
    waiting = _writers(program, extents, extents[kept.source])
    while waiting:
        step = waiting.pop(0)
        if step in seen:
            continue
        seen.add(step)
        for name in program.calls[step].inputs:
            if name not in extents:
                continue
            hits = [key for key in known if _meet(key, extents[name])]
            found |= dict.fromkeys(known[key] for key in hits)
            if not hits:
                waiting += _writers(program, extents, extents[name])
    found.pop(kept.spec.name, None)
    return tuple(found)


def copy_kernels(
    program: Program, kept: tuple[Kept, ...], machine: Machine
) -> tuple[dict[str, Any], tuple[KernelCall, ...]]:
    """TIR functions by C symbol, and one call for each kept tensor that is no output."""
    functions: dict[str, Any] = {}
    symbols: dict[Any, str] = {}
    calls = []
    for one in kept:
        if one.is_output:
            continue
        source = program.tensors[one.source]
        plain = one.perm == tuple(range(len(one.perm)))
        shape = (prod(source.shape),) if plain else source.shape
        perm = (0,) if plain else one.perm
        key = (shape, perm, source.dtype)
        if key not in symbols:
            symbols[key] = f"{program.name}_keep{len(symbols)}"
            function = _copy(shape, perm, source.dtype)
            functions[symbols[key]] = emit_kernel(function, machine, frozenset()).func
        layers = program.calls[one.step].layers
        calls.append(KernelCall(symbols[key], (one.source,), (one.spec.name,), layers=layers))
    return functions, tuple(calls)


def _copy(shape: tuple[int, ...], perm: tuple[int, ...], dtype: str) -> Any:
    x = te.placeholder(shape, dtype, name="x")
    place = [perm.index(axis) for axis in range(len(shape))]
    y = te.compute(
        tuple(shape[axis] for axis in perm),
        lambda *at: x[tuple(at[axis] for axis in place)],
        name="y",
    )
    return te.create_prim_func([x, y])


def with_copies(
    program: Program, plan: MemoryPlan, kept: tuple[Kept, ...], copies: tuple[KernelCall, ...]
) -> tuple[Program, MemoryPlan]:
    """The program and plan with the copies in them; verified.

    Args:
        copies: of ``copy_kernels``, for the same ``kept``.

    Raises:
        PlanError: the verifier refuses the plan.
    """
    copied = [one for one in kept if not one.is_output]
    taken = {one.spec.name for one in copied}
    names = {name: f"{name} (stored)" for name in program.tensors if name in taken}
    program, plan = _renamed(program, plan, names)
    calls: list[KernelCall] = []
    at: dict[int, int] = {}
    placed: dict[str, int] = {}
    for step, call in enumerate(program.calls):
        at[step] = len(calls)
        calls.append(call)
        for one, copy in zip(copied, copies, strict=True):
            if one.step == step:
                placed[one.spec.name] = len(calls)
                source = names.get(copy.inputs[0], copy.inputs[0])
                calls.append(replace(copy, inputs=(source,)))
    longer = replace(
        program,
        outputs=(*program.outputs, *(one.spec for one in copied)),
        tensors={**program.tensors, **{one.spec.name: one.spec for one in copied}},
        calls=tuple(calls),
        model_macs=program.macs,
    )
    found = _longer_plan(program, plan, longer, at, placed)
    verify_plan(longer, found)
    return longer, found


def _longer_plan(
    program: Program,
    plan: MemoryPlan,
    longer: Program,
    at: Mapping[int, int],
    placed: Mapping[str, int],
) -> MemoryPlan:
    """The same offsets at the new steps, and room for the copies behind them."""
    end = len(longer.calls)
    owners = {name: owner for name, (owner, _) in program.storage_of().items()}
    copied_at: dict[str, int] = {}
    for step in placed.values():
        owner = owners[longer.calls[step].inputs[0]]
        copied_at[owner] = max(step, copied_at.get(owner, 0))

    def moved(name: str, part: Placement) -> tuple[str, Placement]:
        first = at[part.first_step]
        last = end if part.end_step >= len(program.calls) else at[part.end_step - 1] + 1
        last = max(last, copied_at.get(owners.get(name, name), 0) + 1)
        if name.startswith("scratch:"):
            _, step, index = name.split(":")
            name, last = f"scratch:{at[int(step)]}:{index}", first + 1
        return name, replace(part, first_step=first, end_step=last)

    renamed = {name: moved(name, part) for name, part in plan.placements.items()}
    placements = dict(renamed.values())
    pool = next(iter(placements.values())).pool
    offset = plan.arena_bytes
    for name, step in placed.items():
        offset += -offset % plan.align_bytes
        size = longer.tensors[name].size_bytes
        placements[name] = Placement(pool, offset, size, step, end)
        offset += size
    storages = {
        renamed[name][0]: tuple(renamed[owner][0] for owner in group)
        for name, group in plan.storages.items()
    }
    peak = max(part.offset_bytes + part.size_bytes for part in placements.values())
    return replace(
        plan,
        placements=placements,
        arena_bytes=offset + -offset % plan.align_bytes,
        peak_bytes=peak,
        optimal=peak == plan.lower_bound_bytes,
        storages={**storages, **{name: (name,) for name in placed}},
    )


def _renamed(
    program: Program, plan: MemoryPlan, names: Mapping[str, str]
) -> tuple[Program, MemoryPlan]:
    """Other names for tensors of the program, inputs and outputs excepted."""

    def new(name: str) -> str:
        return names.get(name, name)

    def all_new(several: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(new(name) for name in several)

    calls = tuple(
        replace(call, inputs=all_new(call.inputs), outputs=all_new(call.outputs))
        for call in program.calls
    )
    views = tuple(View(new(v.tensor), new(v.base), v.offset_bytes) for v in program.views)
    tensors = {new(n): replace(spec, name=new(n)) for n, spec in program.tensors.items()}
    placements = {new(name): part for name, part in plan.placements.items()}
    storages = {new(name): all_new(group) for name, group in plan.storages.items()}
    live = all_new(plan.live_at_peak)
    return (
        replace(program, tensors=tensors, views=views, calls=calls),
        replace(plan, placements=placements, storages=storages, live_at_peak=live),
    )


def describe(
    program: Program,
    kept: tuple[Kept, ...],
    longer: Program,
    layers: Sequence[Mapping[str, Any]],
) -> tuple[Mapping[str, Any], ...]:
    """Manifest entries for each call of the longer program.

    A call that completes a tensor of the model says so under ``keeps``: its name, other names of
    the same bytes, the tensors it comes from, and how it lies in the arena.
    """
    rows = [dict(row) for row in layers]
    for one in kept:
        rows[one.step].setdefault("keeps", []).append(
            {
                "tensor": one.spec.name,
                "names": list(one.names),
                "reads": list(one.reads),
                "stored_shape": list(program.tensors[one.source].shape),
                "permutation": list(one.perm),
                "output": one.is_output,
            }
        )
    copies = {spec.name for spec in longer.outputs} - {spec.name for spec in program.outputs}
    waiting = iter(rows)
    return tuple(
        {"family": "keep"} if copies.intersection(call.outputs) else next(waiting)
        for call in longer.calls
    )
