"""What would lower the memory of a build: each change with its gain, computed, and its cost.

A change of the arena is tried: the sizes of the storages that it concerns are changed and offsets
are searched again, for the same order of kernels. A gain is the difference to the arena as it is;
what does not lower it is left out. Where the plan lets kernels overwrite spent input, the trial
does not, and understates the gain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from footprint_compiler.memory.build_plan import solve
from footprint_compiler.memory.lower_bound import lower_bound
from footprint_compiler.memory.problem import Buffer, Problem
from footprint_compiler.report.blocks import Block, MemoryReport

TRIAL_NODES = 2_000
_SMALLEST_SIDE = 16
_RING_ROWS = 4
_MOST_TRIALS = 24
_NAME_CHARACTERS = 40


@dataclass(frozen=True)
class Advice:
    """One change.

    Attributes:
        change: what to do.
        cost: what it takes.
        ram_bytes, flash_bytes: saved; flash is negative where it grows.
        is_bound: the saving is the most that is possible, not what a trial gave.
    """

    change: str
    cost: str
    ram_bytes: int = 0
    flash_bytes: int = 0
    is_bound: bool = False

    @property
    def savings(self) -> dict[str, int]:
        """Bytes saved by kind of memory."""
        return {"RAM": self.ram_bytes, "flash": self.flash_bytes}

    def as_json(self) -> dict[str, Any]:
        """For ``fpc plan --explain --json``."""
        return dict(vars(self))


def advise(report: MemoryReport) -> list[Advice]:
    """Every change that saves flash, or a hundredth of the peak; the largest saving first."""
    found = [advice for make in _KINDS for advice in make(report)]
    least = max(_peak(report) // 100, 1)
    saving = [
        one
        for one in found
        if one.ram_bytes >= least or one.flash_bytes > 0 or (one.is_bound and one.ram_bytes > 0)
    ]
    return sorted(saving, key=lambda one: (-one.ram_bytes, -one.flash_bytes))


def _peak(report: MemoryReport) -> int:
    """Bytes of the arena, of all where there are several; a trial has one for everything."""
    return sum(report.plan.arenas.values()) or report.plan.peak_bytes


def _trial(report: MemoryReport, change: Callable[[Block], Block | None]) -> int:
    """Bytes saved where every block becomes ``change(block)``, or goes away for None."""
    changed = [new for new in map(change, report.blocks) if new is not None and new.size_bytes]
    align = max(report.plan.tensor_align_bytes, 1)
    buffers = [
        Buffer(str(index), block.first_step, block.end_step, block.size_bytes, align)
        for index, block in enumerate(changed)
    ]
    problem, peak = Problem(tuple(buffers)), _peak(report)
    bound = lower_bound(problem).bytes
    if bound >= peak:
        return 0
    _, solution, _ = solve(problem, 0)
    if solution.height > bound:
        _, solution, _ = solve(problem, TRIAL_NODES)
    return peak - solution.height


def _dtype(report: MemoryReport, tensor: str) -> str:
    return str(report.manifest.get("tensors", {}).get(tensor, {}).get("dtype", ""))


def _shape(report: MemoryReport, tensor: str) -> list[int]:
    return list(report.manifest.get("tensors", {}).get(tensor, {}).get("shape", []))


def _quantize(report: MemoryReport) -> Iterator[Advice]:
    """Float tensors and weights in a quarter of their bytes."""

    def smaller(block: Block) -> Block:
        floats = [name for name in block.tensors if _dtype(report, name) == "float32"]
        if not floats or len(floats) < len(block.tensors):
            return block
        return replace(block, size_bytes=-(-block.size_bytes // 4))

    weights = int(report.manifest["weights"].get("bytes_by_dtype", {}).get("float32", 0))
    tensors = sum(smaller(block) != block for block in report.blocks)
    if tensors:
        yield Advice(
            f"quantize to int8: {tensors} blocks of float32 tensors, {weights:,} B of weights",
            "accuracy; needs calibration data: fpc build --quantize int8 --data F --max-drop 1%",
            _trial(report, smaller),
            weights * 3 // 4,
        )


def _smaller_input(report: MemoryReport) -> Iterator[Advice]:
    """Half the rows and columns of an image, and of everything that is computed from it."""
    images = [
        entry["name"]
        for entry in report.manifest["inputs"]
        if len(entry["shape"]) == 4 and sorted(entry["shape"])[-2] >= _SMALLEST_SIDE
    ]
    if not images:
        return

    def smaller(block: Block) -> Block:
        spatial = any(_is_spatial(_shape(report, name)) for name in block.tensors)
        return replace(block, size_bytes=-(-block.size_bytes // 4)) if spatial else block

    yield Advice(
        f"halve the height and width of {', '.join(images)}",
        "accuracy; the model must be exported, and best be trained, at that size",
        _trial(report, smaller),
    )


def _is_spatial(shape: list[int]) -> bool:
    return len(shape) == 4 and sum(side > 1 for side in shape[1:]) >= 2 and prod(shape[1:3]) > 1


def _stream(report: MemoryReport) -> Iterator[Advice]:
    """Tensors between two kernels that need only a few rows at once."""
    if report.manifest.get("options", {}).get("optimize_for") == "ram":
        return
    peak = {block.name for block in report.live_at(report.peak_step)}
    chain = [
        block
        for block in report.blocks
        if block.kind == "activation"
        and block.end_step - block.first_step == 2
        and _rows(report, block) > _RING_ROWS
    ]
    # Neighbours of the peak belong to its chain; others do not lower it.
    steps = {step for block in chain for step in (block.first_step, block.end_step - 1)}
    if not any(block.name in peak for block in chain):
        return

    def ring(block: Block) -> Block:
        if block not in chain:
            return block
        rows = _rows(report, block)
        return replace(block, size_bytes=-(-block.size_bytes * _RING_ROWS // rows))

    first, last = min(steps), max(steps)
    yield Advice(
        f"run the chains of layers between steps {first} and {last} row by row "
        f"(estimated with rings of {_RING_ROWS} rows)",
        "code and a few instructions per row: fpc build --optimize-for ram",
        _trial(report, ring),
    )


def _rows(report: MemoryReport, block: Block) -> int:
    """Height of the image in a block; 0 where it holds none."""
    shapes = [_shape(report, name) for name in block.tensors]
    return next((shape[1] for shape in shapes if _is_spatial(shape)), 0)


def _in_place(report: MemoryReport) -> Iterator[Advice]:
    """The kernel whose output in the place of its input would save most."""
    best: Advice | None = None
    trials = 0
    for step in _fullest_steps(report):
        live = report.live_at(step)
        ending = [block for block in live if block.end_step == step + 1 and block.tensors]
        starting = [block for block in live if block.first_step == step and block.tensors]
        for old in ending:
            for new in starting:
                if new.size_bytes > old.size_bytes or old == new or trials >= _MOST_TRIALS:
                    continue
                trials += 1
                saved = _trial(report, _merge(old, new))
                if saved > 0 and (best is None or saved > best.ram_bytes):
                    names = (report.step_name(step), new.name, old.name)
                    change = "let {} write {} over {}".format(*map(_short, names))
                    cost = "a kernel that reads each element before it writes there"
                    best = Advice(change, cost, saved)
    if best is not None:
        yield best


def _short(name: str) -> str:
    return name if len(name) <= _NAME_CHARACTERS else name[: _NAME_CHARACTERS - 3] + "..."


def _merge(old: Block, new: Block) -> Callable[[Block], Block | None]:
    def change(block: Block) -> Block | None:
        if block == new:
            return None
        return replace(block, end_step=new.end_step) if block == old else block

    return change


def _fullest_steps(report: MemoryReport) -> list[int]:
    live = report.live_bytes()
    return sorted(range(len(live)), key=lambda step: -live[step])[:8]


def _scratch(report: MemoryReport) -> Iterator[Advice]:
    """Kernels that work without temporary memory."""
    scratch = [block for block in report.live_at(report.peak_step) if block.kind == "scratch"]
    if scratch:
        held = sum(block.size_bytes for block in scratch)
        layer = _short(report.step_name(report.peak_step))
        yield Advice(
            f"a kernel without scratch for {layer} ({held:,} B)",
            "more instructions, or another kernel",
            _trial(report, lambda block: None if block in scratch else block),
        )


def _placement(report: MemoryReport) -> Iterator[Advice]:
    """Offsets alone."""
    plan = report.plan
    if plan.peak_bytes > plan.lower_bound_bytes:
        yield Advice(
            "search longer for offsets: --solve-nodes with a larger number",
            "time of the build",
            plan.peak_bytes - plan.lower_bound_bytes,
            is_bound=True,
        )


def _order(report: MemoryReport) -> Iterator[Advice]:
    """No order of whole kernels can go below the operands of the largest one."""
    if not all("reads" in layer for layer in report.layers):
        return
    needed = 0
    for step in range(len(report.layers)):
        operands = {*report.layers[step].get("reads", ()), *report.layers[step].get("writes", ())}
        needed = max(
            needed,
            sum(
                block.size_bytes
                for block in report.live_at(step)
                if block.kind == "scratch" or operands.intersection(block.tensors)
            ),
        )
    spare = report.plan.lower_bound_bytes - needed
    if needed and spare > 0:
        yield Advice(
            f"another order of the kernels: the largest one alone needs {needed:,} B",
            "none, where the graph allows one; the build has searched for it already",
            spare,
            is_bound=True,
        )


def _weights(report: MemoryReport) -> Iterator[Advice]:
    weights = report.manifest["weights"]
    if weights["mode"] == "flash" and weights["bytes"]:
        yield Advice(
            "keep the weights out of the library: --weights extern",
            f"the program gives a pointer to {weights['bytes']:,} B at init",
            flash_bytes=int(weights["bytes"]),
        )


_KINDS = (_quantize, _stream, _smaller_input, _in_place, _scratch, _placement, _order, _weights)
