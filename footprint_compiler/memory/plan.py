"""The finished memory plan: which tensor lies where, why the peak is what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from footprint_compiler.errors import ArtifactError
from footprint_compiler.memory.problem import Buffer, Problem, write_csv

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Placement:
    """Where one tensor or scratch block lies.

    Attributes:
        pool: name of the memory pool.
        offset_bytes, size_bytes: inside the pool's arena.
        first_step, end_step: half-open live range; a step is the index of a kernel call.
            A view has the range of the tensor that owns its bytes.
    """

    pool: str
    offset_bytes: int
    size_bytes: int
    first_step: int
    end_step: int


@dataclass(frozen=True)
class MemoryPlan:
    """Placements of every tensor and scratch block of a program.

    Attributes:
        placements: tensor name (views included) -> placement; scratch block k of step s is
            named ``scratch:<s>:<k>``.
        arena_bytes: size of the arena, a multiple of ``align_bytes``; 0 when nothing has bytes.
        align_bytes: alignment that the arena's first byte must have.
        peak_bytes: highest byte used.
        lower_bound_bytes: a true lower bound for this order of calls and these in-place choices:
            max over steps of live bytes, alignment counted, or more where a search proved more.
        naive_bytes: sum of all storages, no reuse, nothing in place.
        live_at_peak: names live at the step with the most live bytes, largest first.
        planner: name of the planner whose solution won.
        optimal: True only when peak equals a proven lower bound.
        storages: what was planned as one block: its name -> the names in ``placements`` that
            own its bytes, in order of execution; more than one where a kernel works in place.
            Views are not listed: they lie inside their owner.
        tensor_align_bytes: alignment of every tensor that is not a view.
        arenas: pool -> size of the arena there, where the plan uses several; the first is the one
            of ``arena_bytes``, ``peak_bytes`` and ``lower_bound_bytes``, and holds inputs and
            outputs. Empty for a plan of one arena.
    """

    placements: Mapping[str, Placement]
    arena_bytes: int
    align_bytes: int
    peak_bytes: int
    lower_bound_bytes: int
    naive_bytes: int
    live_at_peak: tuple[str, ...]
    planner: str
    optimal: bool
    storages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tensor_align_bytes: int = 1
    arenas: Mapping[str, int] = field(default_factory=dict)

    @property
    def gap(self) -> float:
        """peak / lower bound - 1; 0 means proven minimal for this order."""
        return self.peak_bytes / self.lower_bound_bytes - 1 if self.lower_bound_bytes else 0.0

    def storage_placements(self) -> dict[str, Placement]:
        """Storage name -> the bytes and steps that it takes, over all its owners."""
        found: dict[str, Placement] = {}
        for name, owners in self.storages.items():
            parts = [self.placements[owner] for owner in owners]
            start = min(part.offset_bytes for part in parts)
            found[name] = Placement(
                pool=parts[0].pool,
                offset_bytes=start,
                size_bytes=max(part.offset_bytes + part.size_bytes for part in parts) - start,
                first_step=min(part.first_step for part in parts),
                end_step=max(part.end_step for part in parts),
            )
        return found

    def to_csv(self) -> str:
        """``id,lower,upper,size,offset`` of each storage; ids count ``storages`` from 0.

        Arenas of several pools are laid end to end.
        """
        base, start = {}, 0
        for pool, size_bytes in self.arenas.items():
            base[pool], start = start, start + size_bytes
        placements = [
            replace(part, offset_bytes=part.offset_bytes + base.get(part.pool, 0))
            for part in self.storage_placements().values()
        ]
        buffers = [
            Buffer(str(index), part.first_step, part.end_step, part.size_bytes)
            for index, part in enumerate(placements)
        ]
        problem = Problem(tuple(buffers))
        return write_csv(problem, problem.solve_with([part.offset_bytes for part in placements]))

    def to_json(self) -> str:
        """JSON text, the same for equal plans; ``gap`` is in it for readers."""
        values = asdict(self)
        values["placements"] = {name: asdict(part) for name, part in self.placements.items()}
        values["storages"] = {name: list(owners) for name, owners in self.storages.items()}
        values["arenas"] = dict(self.arenas)
        return json.dumps({"version": FORMAT_VERSION, **values, "gap": self.gap}, indent=1) + "\n"

    @staticmethod
    def from_json(text: str) -> MemoryPlan:
        """The plan that ``to_json`` wrote.

        Raises:
            ArtifactError: the text is not such JSON.
        """
        try:
            values = json.loads(text)
            if values["version"] != FORMAT_VERSION:
                raise ArtifactError(f"memory plan of version {values['version']!r}")
            return _from_values(values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(f"the memory plan cannot be read ({error!r})") from error


def _from_values(values: Mapping[str, Any]) -> MemoryPlan:
    numbers = ("arena", "align", "peak", "lower_bound", "naive", "tensor_align")
    return MemoryPlan(
        placements={
            name: Placement(
                pool=str(part["pool"]),
                offset_bytes=int(part["offset_bytes"]),
                size_bytes=int(part["size_bytes"]),
                first_step=int(part["first_step"]),
                end_step=int(part["end_step"]),
            )
            for name, part in values["placements"].items()
        },
        **{f"{name}_bytes": int(values[f"{name}_bytes"]) for name in numbers},
        live_at_peak=tuple(str(name) for name in values["live_at_peak"]),
        planner=str(values["planner"]),
        optimal=bool(values["optimal"]),
        storages={
            name: tuple(str(owner) for owner in owners)
            for name, owners in values["storages"].items()
        },
        arenas={str(pool): int(size) for pool, size in values.get("arenas", {}).items()},
    )
