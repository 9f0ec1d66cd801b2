"""``plan_memory``: from a program to a verified plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from footprint_compiler.errors import PlanError
from footprint_compiler.memory.exact import minimise
from footprint_compiler.memory.hill_climb import hill_climb
from footprint_compiler.memory.live_ranges import (
    Storage,
    live_storages,
    naive_bytes,
    owner_ranges,
    scratch_name,
)
from footprint_compiler.memory.lower_bound import lower_bound
from footprint_compiler.memory.overlaps import find_gaps
from footprint_compiler.memory.plan import MemoryPlan, Placement
from footprint_compiler.memory.planners import best_of
from footprint_compiler.memory.problem import Buffer, Problem, Solution
from footprint_compiler.memory.storages import locate_tensors
from footprint_compiler.memory.verify import verify_plan
from footprint_compiler.options import SOLVE_NODES
from footprint_compiler.program import Program


def plan_memory(
    program: Program,
    align_bytes: int = 16,
    pool: str = "sram",
    solve_nodes: int = SOLVE_NODES,
) -> MemoryPlan:
    """Place every tensor and scratch block of the program in one arena.

    Args:
        program: kernel calls in execution order.
        align_bytes: alignment of every tensor that is not a view, at least, a power of two.
            Wider elements and scratch blocks may ask for more; the arena's own alignment is
            the largest of all.
        pool: name of the pool that the arena lies in.
        solve_nodes: limit of the exact search, which runs only where quick planners miss the
            lower bound; 0 leaves it out.

    Returns:
        A plan that has passed ``verify_plan``; the same for the same program.

    Raises:
        PlanError: the program is not sound, or no plan of it passes the verifier.
    """
    _check_alignments(program, align_bytes)
    storages = live_storages(program, align_bytes)
    gaps = find_gaps(program, storages, locate_tensors(program))
    problem = replace(as_problem(storages), gaps=gaps)
    planner, solution, proven_bytes = solve(problem, solve_nodes)
    bound = lower_bound(problem)
    arena_align = max([align_bytes, *(storage.align_bytes for storage in storages)])
    live = sorted((storages[index] for index in bound.live), key=lambda one: -one.size_bytes)
    placements = place_tensors(program, storages, solution.offsets, pool)
    plan = MemoryPlan(
        placements=placements,
        arena_bytes=solution.height + -solution.height % arena_align,
        align_bytes=arena_align,
        peak_bytes=solution.height,
        lower_bound_bytes=proven_bytes,
        naive_bytes=naive_bytes(program, storages),
        live_at_peak=tuple(_owner_at(placements, storage, bound.step) for storage in live),
        planner=planner,
        optimal=solution.height == proven_bytes,
        storages={storage.name: storage.owners for storage in storages},
        tensor_align_bytes=align_bytes,
    )
    verify_plan(program, plan)
    return plan


def solve(problem: Problem, solve_nodes: int = SOLVE_NODES) -> tuple[str, Solution, int]:
    """(planner that won, its solution, a proven lower bound in bytes).

    Each planner runs only when those before it have missed the bound: greedy, climb, exact.
    """
    name, quick = best_of(problem)
    if solve_nodes <= 0:
        return name, quick, lower_bound(problem).bytes
    climbed = hill_climb(problem, quick)
    exact = minimise(problem, climbed, solve_nodes)
    if exact.solution.height < climbed.height:
        name = "exact"
    elif climbed.height < quick.height:
        name = "hill_climb"
    return name, exact.solution, exact.bound


def as_problem(storages: Sequence[Storage]) -> Problem:
    """The storages as integer buffers, in the same order, with their index as id."""
    return Problem(
        tuple(
            Buffer(
                id=str(index),
                lower=storage.first_step,
                upper=storage.end_step,
                size=storage.size_bytes,
                align=storage.align_bytes,
            )
            for index, storage in enumerate(storages)
        )
    )


def _check_alignments(program: Program, align_bytes: int) -> None:
    blocks = [
        (scratch_name(step, index), block.align_bytes)
        for step, call in enumerate(program.calls)
        for index, block in enumerate(call.scratch)
    ]
    for name, align in (("the arena", align_bytes), *blocks):
        if align < 1 or align & (align - 1):
            raise PlanError(f"alignment of {name} is {align}, not a power of two")


def place_tensors(
    program: Program, storages: Sequence[Storage], offsets: Sequence[int], pool: str
) -> dict[str, Placement]:
    """Tensors in the program's order (views at their place inside the owner), then scratch."""
    locations = locate_tensors(program)
    ranges = owner_ranges(program, locations)
    base = {
        owner: offset
        for storage, offset in zip(storages, offsets, strict=True)
        for owner in storage.owners
    }
    found = {
        name: Placement(
            pool,
            base[location.storage] + location.offset_bytes,
            location.end_bytes - location.offset_bytes,
            *ranges[location.storage],
        )
        for name, location in locations.items()
    }
    for storage in storages:
        if storage.name not in found:
            found[storage.name] = Placement(
                pool,
                base[storage.name],
                storage.size_bytes,
                storage.first_step,
                storage.end_step,
            )
    return found


def _owner_at(placements: dict[str, Placement], storage: Storage, step: int) -> str:
    """The owner whose value the storage holds when the step begins, or which the step writes."""
    for owner in storage.owners:
        if placements[owner].first_step <= step < placements[owner].end_step:
            return owner
    return storage.name
