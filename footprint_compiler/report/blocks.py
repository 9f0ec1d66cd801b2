"""A build as rectangles: bytes by steps, each with what it holds and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from footprint_compiler.memory.plan import MemoryPlan, Placement

KINDS = ("input", "output", "activation", "scratch")


@dataclass(frozen=True)
class Block:
    """One storage of the arena.

    Attributes:
        name: of its first tensor, or of the scratch block.
        kind: one of ``KINDS``; a storage that is both input and output counts as output.
        pool, offset_bytes, size_bytes: where it lies.
        first_step, end_step: half-open live range.
        tensors: every tensor in its bytes: its owners and their views; empty for scratch.
        layers: ONNX nodes of the calls that write it, or use the scratch.
    """

    name: str
    kind: str
    pool: str
    offset_bytes: int
    size_bytes: int
    first_step: int
    end_step: int
    tensors: tuple[str, ...]
    layers: tuple[str, ...]

    @property
    def end_bytes(self) -> int:
        """First byte behind it."""
        return self.offset_bytes + self.size_bytes

    @property
    def title(self) -> str:
        """One line for a reader."""
        others = [name for name in self.tensors if name != self.name]
        shares = f"; also {', '.join(others)}" if others else ""
        layers = f"; layers {', '.join(self.layers)}" if self.layers else ""
        return (
            f"{self.name} ({self.kind}): {self.size_bytes:,} B at {self.offset_bytes:,} in "
            f"{self.pool}, steps {self.first_step} to {self.end_step - 1}{shares}{layers}"
        )


@dataclass(frozen=True)
class MemoryReport:
    """A build for the reports.

    Attributes:
        name, target: of the artifact.
        plan: its memory plan.
        blocks: storages with bytes, in the plan's order.
        layers: the entries ``layers`` of the manifest; step i is entry i.
        manifest: all of it.
    """

    name: str
    target: str
    plan: MemoryPlan
    blocks: tuple[Block, ...]
    layers: Sequence[Mapping[str, Any]]
    manifest: Mapping[str, Any]

    @property
    def steps(self) -> int:
        """Number of kernel calls, at least one."""
        return max([len(self.layers), 1, *(block.end_step for block in self.blocks)])

    @property
    def pools(self) -> tuple[str, ...]:
        """Pools with blocks, in the order of their first one."""
        return tuple(dict.fromkeys(block.pool for block in self.blocks))

    def live_at(self, step: int) -> tuple[Block, ...]:
        """Blocks that hold something during a step, by offset."""
        live = [block for block in self.blocks if block.first_step <= step < block.end_step]
        return tuple(sorted(live, key=lambda block: (block.pool, block.offset_bytes)))

    def live_bytes(self) -> list[int]:
        """Bytes in use per step; those that a kernel overwrites on the way count once."""
        return [_covered(self.live_at(step)) for step in range(self.steps)]

    @property
    def peak_step(self) -> int:
        """First step with the most live bytes."""
        live = self.live_bytes()
        return live.index(max(live))

    def pool_bytes(self, pool: str) -> int:
        """Highest byte used in one pool."""
        return max((block.end_bytes for block in self.blocks if block.pool == pool), default=0)

    def step_name(self, step: int) -> str:
        """ONNX nodes of a step, or its kernel where it has none."""
        if step >= len(self.layers):
            return ""
        layer = self.layers[step]
        return ", ".join(layer["layers"]) or str(layer["kernel"])


def _covered(blocks: Sequence[Block]) -> int:
    """Bytes in at least one of the blocks, which come by pool and offset."""
    total, pool, end = 0, "", 0
    for block in blocks:
        if block.pool != pool:
            pool, end = block.pool, 0
        total += max(0, block.end_bytes - max(end, block.offset_bytes))
        end = max(end, block.end_bytes)
    return total


def make_report(manifest: Mapping[str, Any], plan: MemoryPlan) -> MemoryReport:
    """The report of a build from its manifest and its plan."""
    layers = manifest.get("layers", [])
    writers: dict[str, list[str]] = {}
    for layer in layers:
        for tensor in layer.get("writes", ()):
            writers.setdefault(tensor, []).extend(layer["layers"])
    inputs = {entry["name"] for entry in manifest["inputs"]}
    outputs = {entry["name"] for entry in manifest["outputs"]}
    inside = _tensors_of_storages(plan)
    blocks = []
    for name, part in plan.storage_placements().items():
        if part.size_bytes == 0:
            continue
        tensors = inside[name]
        scratch = name.startswith("scratch:")
        if scratch and part.first_step < len(layers):
            nodes = tuple(layers[part.first_step]["layers"])
        else:
            nodes = tuple(dict.fromkeys(node for one in tensors for node in writers.get(one, ())))
        blocks.append(
            Block(
                name=name,
                kind="scratch" if scratch else _kind(tensors, inputs, outputs),
                pool=part.pool,
                offset_bytes=part.offset_bytes,
                size_bytes=part.size_bytes,
                first_step=part.first_step,
                end_step=part.end_step,
                tensors=() if scratch else tensors,
                layers=nodes,
            )
        )
    return MemoryReport(
        str(manifest["name"]), str(manifest["target"]), plan, tuple(blocks), layers, manifest
    )


def _kind(tensors: Sequence[str], inputs: set[str], outputs: set[str]) -> str:
    if outputs.intersection(tensors):
        return "output"
    return "input" if inputs.intersection(tensors) else "activation"


def _tensors_of_storages(plan: MemoryPlan) -> dict[str, tuple[str, ...]]:
    """Storage -> its owners, and the views that lie in one of them during the same steps."""
    owners = {owner for names in plan.storages.values() for owner in names}
    found = {name: list(names) for name, names in plan.storages.items()}
    for view, part in plan.placements.items():
        if view in owners:
            continue
        for storage, names in plan.storages.items():
            if any(_inside(part, plan.placements[owner]) for owner in names):
                found[storage].append(view)
                break
    return {name: tuple(names) for name, names in found.items()}


def _inside(part: Placement, owner: Placement) -> bool:
    """A view has the live range of the tensor that owns its bytes."""
    return (
        part.pool == owner.pool
        and (part.first_step, part.end_step) == (owner.first_step, owner.end_step)
        and owner.offset_bytes <= part.offset_bytes
        and part.offset_bytes + part.size_bytes <= owner.offset_bytes + owner.size_bytes
    )
