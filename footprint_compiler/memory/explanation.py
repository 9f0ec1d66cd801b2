"""What a plan's peak is made of, as data; drawing it is the caller's business."""

from __future__ import annotations

from dataclasses import dataclass

from footprint_compiler.memory.plan import MemoryPlan
from footprint_compiler.program import Program


@dataclass(frozen=True)
class Contributor:
    """One storage that is live at the peak step.

    Attributes:
        name: the tensor whose value it holds there, or the scratch block.
        kind: ``"input"``, ``"output"``, ``"activation"`` or ``"scratch"``; a storage that is both
            input and output of the model counts as output.
        offset_bytes, size_bytes: of the storage.
        first_step, end_step: half-open live range of the storage.
        shares: other names in the same bytes: views, and tensors computed in place.
        layers: ONNX nodes of the calls that write the tensor or its views, or use the scratch.
    """

    name: str
    kind: str
    offset_bytes: int
    size_bytes: int
    first_step: int
    end_step: int
    shares: tuple[str, ...]
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """A plan step by step.

    Attributes:
        live_bytes: per step, sum of the sizes of the live storages (one step at least, also
            for a program without calls).
        top_bytes: per step, end of the highest live storage.
        peak_step: first step with the most live bytes.
        contributors: storages live at ``peak_step``, largest first; their sizes add up to
            ``live_bytes[peak_step]``.
    """

    live_bytes: tuple[int, ...]
    top_bytes: tuple[int, ...]
    peak_step: int
    contributors: tuple[Contributor, ...]


def explain(plan: MemoryPlan, program: Program) -> Explanation:
    """Explain a plan of this program."""
    steps = max(len(program.calls), 1)
    live, top = [0] * steps, [0] * steps
    storages = plan.storage_placements()
    for part in storages.values():
        for step in range(part.first_step, part.end_step):
            live[step] += part.size_bytes
            top[step] = max(top[step], part.offset_bytes + part.size_bytes)
    peak_step = live.index(max(live))
    contributors = [
        _contributor(plan, program, name, peak_step)
        for name, part in storages.items()
        if part.first_step <= peak_step < part.end_step and part.size_bytes
    ]
    contributors.sort(key=lambda one: -one.size_bytes)
    return Explanation(tuple(live), tuple(top), peak_step, tuple(contributors))


def _contributor(plan: MemoryPlan, program: Program, storage: str, step: int) -> Contributor:
    part = plan.storage_placements()[storage]
    owners = plan.storages[storage]
    located = program.storage_of()
    tensors = [name for name in program.tensors if located[name][0] in owners]
    holder = next(
        owner
        for owner in owners
        if plan.placements[owner].first_step <= step < plan.placements[owner].end_step
    )
    inside = [name for name in tensors if located[name][0] == holder]
    return Contributor(
        name=holder,
        kind=_kind(program, tensors),
        offset_bytes=part.offset_bytes,
        size_bytes=part.size_bytes,
        first_step=part.first_step,
        end_step=part.end_step,
        shares=tuple(name for name in tensors if name != holder),
        layers=_layers(program, inside) if inside else program.calls[step].layers,
    )


def _kind(program: Program, tensors: list[str]) -> str:
    if not tensors:
        return "scratch"
    if any(spec.name in tensors for spec in program.outputs):
        return "output"
    if any(spec.name in tensors for spec in program.inputs):
        return "input"
    return "activation"


def _layers(program: Program, tensors: list[str]) -> tuple[str, ...]:
    """ONNX nodes of every call that writes one of the tensors."""
    found = [
        layer
        for call in program.calls
        if any(name in tensors for name in call.outputs)
        for layer in call.layers
    ]
    return tuple(dict.fromkeys(found))
