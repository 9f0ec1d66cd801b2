"""Which storage lies in which memory: the tensors that move most bytes in the fastest one.

A pool saves, for each storage in it, the bytes that its kernels move times the difference of the
pools' costs per byte. Pools are filled from the fastest on, each as a knapsack whose weight is the
height of the plan of what is in it: exact over all subsets for a few storages, else greedily by
saving per byte and improved by swaps. Inputs and outputs of the model stay in the first pool given,
so that the C interface has one arena that they are in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from footprint_compiler.errors import BudgetError
from footprint_compiler.memory.build_plan import as_problem, place_tensors, plan_memory, solve
from footprint_compiler.memory.live_ranges import Storage, live_storages, naive_bytes
from footprint_compiler.memory.lower_bound import lower_bound
from footprint_compiler.memory.overlaps import find_gaps
from footprint_compiler.memory.plan import MemoryPlan, Placement
from footprint_compiler.memory.problem import Gap, Problem, Solution
from footprint_compiler.memory.storages import locate_tensors
from footprint_compiler.memory.verify import verify_plan
from footprint_compiler.options import SOLVE_NODES
from footprint_compiler.program import Program

MOST_EXACT = 12
"""Storages up to which all subsets are compared."""
MOST_TRIALS = 2_000
"""Of the improvement by swaps."""


@dataclass(frozen=True)
class PlanPool:
    """A memory that the plan may use.

    Attributes:
        name: of the target's pool.
        capacity_bytes: what the arena there may take.
        read_cycles, write_cycles: per byte.
    """

    name: str
    capacity_bytes: int
    read_cycles: float
    write_cycles: float


@dataclass(frozen=True)
class Traffic:
    """Bytes that one inference reads from and writes to a storage."""

    read_bytes: int
    written_bytes: int

    def cycles(self, pool: PlanPool) -> float:
        """What moving them costs in a pool."""
        return self.read_bytes * pool.read_cycles + self.written_bytes * pool.write_cycles


def plan_in_pools(
    program: Program,
    pools: Sequence[PlanPool],
    align_bytes: int = 16,
    solve_nodes: int = SOLVE_NODES,
) -> MemoryPlan:
    """Place every tensor and scratch block of the program, in one arena per pool.

    Args:
        program: kernel calls in execution order.
        pools: one or more; the first holds inputs and outputs.
        align_bytes, solve_nodes: as for ``plan_memory``.

    Returns:
        A verified plan; an ordinary one of a single arena when nothing needs, or is better in,
        another pool than the first.

    Raises:
        BudgetError: what is left for the slowest pool does not fit there.
        PlanError: the program is not sound.
    """
    storages = live_storages(program, align_bytes)
    traffic = storage_traffic(program, storages)
    gaps = find_gaps(program, storages, locate_tensors(program))
    chosen = assign(storages, traffic, gaps, _pinned(program, storages), pools)
    used = [pool for pool in pools if pool.name in chosen]
    if used in ([], [pools[0]]):
        return plan_memory(program, align_bytes, pool=pools[0].name, solve_nodes=solve_nodes)
    plans = {
        pool.name: _solve(
            storages, gaps, [i for i, p in enumerate(chosen) if p == pool.name], solve_nodes
        )
        for pool in used
    }
    return _finish(program, storages, gaps, chosen, plans, align_bytes)


def storage_traffic(program: Program, storages: Sequence[Storage]) -> list[Traffic]:
    """Bytes moved per storage: each argument of a call once, scratch once in and once out."""
    number = {owner: index for index, one in enumerate(storages) for owner in one.owners}
    locations = locate_tensors(program)
    read, written = [0] * len(storages), [0] * len(storages)
    for step, call in enumerate(program.calls):
        for name in call.inputs:
            if name in locations:
                read[number[locations[name].storage]] += program.tensors[name].size_bytes
        for name in call.outputs:
            written[number[locations[name].storage]] += program.tensors[name].size_bytes
        for index, block in enumerate(call.scratch):
            at = number[f"scratch:{step}:{index}"]
            read[at] += block.size_bytes
            written[at] += block.size_bytes
    return [Traffic(*pair) for pair in zip(read, written, strict=True)]


def assign(
    storages: Sequence[Storage],
    traffic: Sequence[Traffic],
    gaps: Sequence[Gap],
    pinned: frozenset[int],
    pools: Sequence[PlanPool],
) -> list[str]:
    """The pool of every storage.

    Raises:
        BudgetError: they do not fit.
    """
    chosen = ["" if storage.size_bytes else pools[0].name for storage in storages]
    for index in pinned:
        chosen[index] = pools[0].name
    by_speed = sorted(pools, key=lambda pool: pool.read_cycles + pool.write_cycles)
    for position, pool in enumerate(by_speed):
        free = [index for index, name in enumerate(chosen) if not name]
        held = [index for index, name in enumerate(chosen) if name == pool.name]
        rest = by_speed[position + 1 :]

        def fits(indices: Sequence[int], pool: PlanPool = pool, held: list[int] = held) -> bool:
            part = _part(storages, gaps, [*held, *indices])
            if lower_bound(part).bytes > pool.capacity_bytes:
                return False
            return solve(part, 0)[1].height <= pool.capacity_bytes

        if not fits([]):
            raise BudgetError(f"inputs and outputs do not fit the pool {pool.name}")
        if not rest:
            if not fits(free):
                height = _height(storages, gaps, [*held, *free])
                raise BudgetError(
                    f"the pool {pool.name} has {pool.capacity_bytes:,} B for the arena, and "
                    f"{height:,} B are left for it",
                    "Name another pool with --pools, or lower the memory: fpc plan --explain.",
                )
            taken = free
        else:
            slower = rest[0]
            saving = {i: traffic[i].cycles(slower) - traffic[i].cycles(pool) for i in free}
            taken = _fill(free, saving, [storage.size_bytes for storage in storages], fits)
        for index in taken:
            chosen[index] = pool.name
    return chosen


def _fill(
    free: Sequence[int],
    saving: dict[int, float],
    sizes: Sequence[int],
    fits: Callable[[Sequence[int]], bool],
) -> list[int]:
    """The subset with the largest saving that fits."""
    useful = [index for index in free if saving[index] >= 0]
    if fits(useful):
        return useful
    useful.sort(key=lambda index: (-saving[index] / sizes[index], index))
    if len(useful) <= MOST_EXACT:
        return _best_subset(useful, saving, fits)
    return _improve(_greedy(useful, fits), useful, saving, fits)


def _best_subset(
    useful: list[int], saving: dict[int, float], fits: Callable[[Sequence[int]], bool]
) -> list[int]:
    """Depth first, with the sum of what is left as bound; what does not fit never will."""
    best: tuple[float, list[int]] = (0.0, [])
    left = [0.0] * (len(useful) + 1)
    for position in range(len(useful) - 1, -1, -1):
        left[position] = left[position + 1] + saving[useful[position]]

    def search(position: int, taken: list[int], total: float) -> None:
        nonlocal best
        if total > best[0]:
            best = (total, list(taken))
        if position == len(useful) or total + left[position] <= best[0]:
            return
        index = useful[position]
        if fits([*taken, index]):
            search(position + 1, [*taken, index], total + saving[index])
        search(position + 1, taken, total)

    search(0, [], 0.0)
    return best[1]


def _greedy(useful: list[int], fits: Callable[[Sequence[int]], bool]) -> list[int]:
    taken: list[int] = []
    for index in useful:
        if fits([*taken, index]):
            taken.append(index)
    return taken


def _improve(
    taken: list[int],
    useful: list[int],
    saving: dict[int, float],
    fits: Callable[[Sequence[int]], bool],
) -> list[int]:
    """One storage out, one or more others in, as long as that saves more."""
    better, trials = True, 0
    while better:
        better = False
        for out in sorted(taken, key=lambda index: saving[index]):
            trial = [index for index in taken if index != out]
            for index in useful:
                trials += 1
                if trials > MOST_TRIALS:
                    return taken
                if index != out and index not in trial and fits([*trial, index]):
                    trial.append(index)
            if sum(saving[i] for i in trial) > sum(saving[i] for i in taken):
                taken, better = trial, True
                break
    return taken


def _pinned(program: Program, storages: Sequence[Storage]) -> frozenset[int]:
    """Storages that hold an input or an output of the model."""
    number = {owner: index for index, one in enumerate(storages) for owner in one.owners}
    locations = locate_tensors(program)
    specs = (*program.inputs, *program.outputs)
    return frozenset(number[locations[spec.name].storage] for spec in specs)


def _part(storages: Sequence[Storage], gaps: Sequence[Gap], indices: Sequence[int]) -> Problem:
    """The problem of some storages alone, in the order of their indices."""
    order = sorted(indices)
    place = {index: position for position, index in enumerate(order)}
    inside = tuple(
        Gap(place[gap.low], place[gap.high], gap.bytes)
        for gap in gaps
        if gap.low in place and gap.high in place
    )
    return replace(as_problem([storages[index] for index in order]), gaps=inside)


def _height(storages: Sequence[Storage], gaps: Sequence[Gap], indices: Sequence[int]) -> int:
    return solve(_part(storages, gaps, indices), 0)[1].height


def _solve(
    storages: Sequence[Storage], gaps: Sequence[Gap], indices: Sequence[int], solve_nodes: int
) -> tuple[str, Solution, int]:
    return solve(_part(storages, gaps, indices), solve_nodes)


def _finish(
    program: Program,
    storages: Sequence[Storage],
    gaps: Sequence[Gap],
    chosen: Sequence[str],
    plans: dict[str, tuple[str, Solution, int]],
    align_bytes: int,
) -> MemoryPlan:
    """Offsets of all pools in one plan, verified."""
    arena_align = max([align_bytes, *(storage.align_bytes for storage in storages)])
    positions = dict.fromkeys(plans, 0)
    offsets = []
    for pool in chosen:
        offsets.append(plans[pool][1].offsets[positions[pool]])
        positions[pool] += 1
    pool_of = {
        owner: pool
        for storage, pool in zip(storages, chosen, strict=True)
        for owner in storage.owners
    }
    locations = locate_tensors(program)
    placements: dict[str, Placement] = {
        name: replace(part, pool=pool_of[locations[name].storage if name in locations else name])
        for name, part in place_tensors(program, storages, offsets, "").items()
    }
    arenas = {pool: one.height + -one.height % arena_align for pool, (_, one, _) in plans.items()}
    first = next(iter(plans))
    planner, solution, bound = plans[first]
    live = lower_bound(replace(as_problem(storages), gaps=tuple(gaps))).live
    plan = MemoryPlan(
        placements=placements,
        arena_bytes=arenas[first],
        align_bytes=arena_align,
        peak_bytes=solution.height,
        lower_bound_bytes=bound,
        naive_bytes=naive_bytes(program, storages),
        live_at_peak=tuple(
            storages[i].name for i in sorted(live, key=lambda i: -storages[i].size_bytes)
        ),
        planner=planner,
        optimal=solution.height == bound,
        storages={storage.name: storage.owners for storage in storages},
        tensor_align_bytes=align_bytes,
        arenas=arenas,
    )
    verify_plan(program, plan)
    return plan
