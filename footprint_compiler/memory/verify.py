"""Checks a finished plan against its program. Shares no code with what makes plans.

Two independent rules, each enough to catch a wrong offset:

- *geometry*: two tensors that do not view the same bytes, and whose stated live ranges share a
  step, share no byte; but for one step at which the later is computed in place of the earlier;
- *replay*: the calls are replayed on a picture of the arena in which each byte remembers the
  tensor that wrote it last; every read must find the bytes that it means, and what a kernel
  writes may touch nothing else that the kernel is given, but for an exact in-place pair. It
  needs no live ranges, so it does not trust the stated ones.
"""

from __future__ import annotations

from footprint_compiler.errors import PlanError
from footprint_compiler.memory.plan import MemoryPlan
from footprint_compiler.memory.problem import Problem, Solution
from footprint_compiler.memory.verify_geometry import check_geometry, meeting_boxes
from footprint_compiler.memory.verify_pools import end_to_end
from footprint_compiler.memory.verify_replay import replay_calls
from footprint_compiler.memory.verify_rules import Root, find_roots, refuse_overlap, scratch_names
from footprint_compiler.program import Program
from footprint_compiler.tensor import DTYPE_BYTES


def verify_solution(problem: Problem, solution: Solution) -> None:
    """Check the offsets of a problem.

    Raises:
        PlanError: naming the two buffers that overlap, or the one that is misplaced.
    """
    if len(solution.offsets) != len(problem.buffers):
        raise PlanError(f"{len(solution.offsets)} offsets for {len(problem.buffers)} buffers")
    top = 0
    placed = list(zip(problem.buffers, solution.offsets, strict=True))
    for buffer, offset in placed:
        if offset < 0 or offset % buffer.align:
            raise PlanError(f"buffer {buffer.id!r}: offset {offset} is negative or not aligned")
        if buffer.size:
            top = max(top, offset + buffer.size)
    if top != solution.height:
        raise PlanError(f"the height is {top}, not {solution.height}")
    if problem.capacity is not None and top > problem.capacity:
        raise PlanError(f"the height {top} exceeds the capacity {problem.capacity}")
    boxes = [
        (offset, offset + buffer.size, buffer.lower, buffer.upper) for buffer, offset in placed
    ]
    for one, other in meeting_boxes(boxes):
        if not _near_enough(problem, solution, one, other):
            refuse_overlap(problem.buffers[one].id, problem.buffers[other].id)


def _near_enough(problem: Problem, solution: Solution, one: int, other: int) -> bool:
    """Whether a gap of the problem allows what these two share."""
    return any(
        solution.offsets[gap.high] - solution.offsets[gap.low] >= gap.bytes
        for gap in problem.gaps
        if {gap.low, gap.high} == {one, other}
    )


def verify_plan(program: Program, plan: MemoryPlan) -> None:
    """Check a plan of a program.

    Raises:
        PlanError: naming the tensors that collide, or the one that is misplaced.
    """
    roots = find_roots(program)
    _check_names(program, plan, roots)
    if plan.arenas:
        plan = end_to_end(program, plan)
    _check_arena(plan)
    _check_views(program, plan, roots)
    _check_alignment(program, plan, roots)
    _check_stated_ranges(program, plan, roots)
    check_geometry(program, plan, roots)
    replay_calls(program, plan, roots)


def _check_names(program: Program, plan: MemoryPlan, roots: dict[str, Root]) -> None:
    sizes = {name: spec.size_bytes for name, spec in program.tensors.items()}
    for step, call in enumerate(program.calls):
        for name, block in zip(scratch_names(call, step), call.scratch, strict=True):
            sizes[name] = block.size_bytes
    if set(sizes) != set(plan.placements):
        wrong = sorted(set(sizes) ^ set(plan.placements))
        raise PlanError(f"{wrong[0]!r} is in the program or in the plan, but not in both")
    for name, size in sizes.items():
        if plan.placements[name].size_bytes != size:
            raise PlanError(f"{name!r} has {size} bytes, not {plan.placements[name].size_bytes}")
    owners = [owner for group in plan.storages.values() for owner in group]
    expected = {name for name in sizes if name not in roots or roots[name].name == name}
    if len(owners) != len(expected) or set(owners) != expected:
        wrong = sorted(set(owners) ^ expected) or owners
        raise PlanError(f"{wrong[0]!r} is not in exactly one storage of the plan")


def _check_arena(plan: MemoryPlan) -> None:
    top = 0
    pools = {part.pool for part in plan.placements.values()}
    if len(pools) > 1:
        raise PlanError(f"one arena, but placements in the pools {', '.join(sorted(pools))}")
    for name, part in plan.placements.items():
        end = part.offset_bytes + part.size_bytes
        if part.offset_bytes < 0 or end > plan.arena_bytes:
            raise PlanError(f"{name!r} is not inside the arena of {plan.arena_bytes} bytes")
        top = max(top, end if part.size_bytes else 0)
    if top != plan.peak_bytes:
        raise PlanError(f"the peak is {top} bytes, not {plan.peak_bytes}")
    if plan.arena_bytes % plan.align_bytes:
        raise PlanError(f"the arena of {plan.arena_bytes} bytes is not aligned")
    if not plan.lower_bound_bytes <= plan.peak_bytes:
        raise PlanError(f"the lower bound {plan.lower_bound_bytes} is above the peak")
    if plan.optimal and plan.lower_bound_bytes != plan.peak_bytes:
        raise PlanError("the plan is called optimal, but does not meet its lower bound")


def _check_views(program: Program, plan: MemoryPlan, roots: dict[str, Root]) -> None:
    for view in program.views:
        inner, outer = plan.placements[view.tensor], plan.placements[view.base]
        start = inner.offset_bytes - outer.offset_bytes
        if start < 0 or start + inner.size_bytes > outer.size_bytes:
            raise PlanError(f"the view {view.tensor!r} is not inside its base {view.base!r}")
    for name, (owner, delta) in roots.items():
        if plan.placements[name].offset_bytes != plan.placements[owner].offset_bytes + delta:
            raise PlanError(f"the view {name!r} is not where it has to be inside {owner!r}")


def _check_alignment(program: Program, plan: MemoryPlan, roots: dict[str, Root]) -> None:
    aligns = {
        name: block.align_bytes
        for step, call in enumerate(program.calls)
        for name, block in zip(scratch_names(call, step), call.scratch, strict=True)
    }
    for name, (owner, _) in roots.items():
        aligns[name] = DTYPE_BYTES[program.tensors[name].dtype]
        if name == owner:
            aligns[name] = max(aligns[name], plan.tensor_align_bytes)
    for name, align in aligns.items():
        if plan.align_bytes % align or plan.placements[name].offset_bytes % align:
            raise PlanError(f"{name!r} is not aligned to {align} bytes")


def _check_stated_ranges(program: Program, plan: MemoryPlan, roots: dict[str, Root]) -> None:
    def need(name: str, first: int, end: int) -> None:
        owner = roots[name].name if name in roots else name
        for part in (plan.placements[name], plan.placements[owner]):
            if not part.first_step <= first < end <= part.end_step:
                raise PlanError(
                    f"{name!r} is stated live in [{part.first_step}, {part.end_step}), "
                    f"but is needed in [{first}, {end})"
                )

    steps = max(len(program.calls), 1)
    for spec in program.inputs:
        need(spec.name, 0, 1)
    for step, call in enumerate(program.calls):
        for name in (*call.inputs, *call.outputs, *scratch_names(call, step)):
            if name not in program.constants:
                need(name, step, step + 1)
    for spec in program.outputs:
        need(spec.name, steps - 1, steps)
