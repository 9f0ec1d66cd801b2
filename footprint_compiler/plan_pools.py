"""From a target's memories and ``--pools`` to the pools that a plan may use."""

from __future__ import annotations

from footprint_compiler.errors import UsageError
from footprint_compiler.memory.build_plan import plan_memory
from footprint_compiler.memory.plan import MemoryPlan
from footprint_compiler.memory.pools import PlanPool, plan_in_pools
from footprint_compiler.options import BuildOptions
from footprint_compiler.program import Program
from footprint_compiler.targets import Pool, Target

STACK_BYTES = 4096
"""Kept free in the pool of the stack; the finished build checks the sum of what lies there."""


def plan_for_target(
    program: Program, target: Target, options: BuildOptions, align_bytes: int
) -> MemoryPlan:
    """The plan of a program in the memories that ``options.pools`` names.

    Raises:
        BudgetError: it does not fit them.
        UsageError: there is no such memory, or another option excludes several.
    """
    pools = choose_pools(target, options)
    if len(pools) == 1:
        return plan_memory(program, align_bytes, pools[0].name, options.solve_nodes)
    stack = next((pool.name for pool in target.pools if "stack" in pool.holds), "")
    limits = [_limits(pool, STACK_BYTES if pool.name == stack else 0) for pool in pools]
    return plan_in_pools(program, limits, align_bytes, options.solve_nodes)


def choose_pools(target: Target, options: BuildOptions) -> list[Pool]:
    """The target's pools for the arena, the one for inputs and outputs first.

    Raises:
        UsageError: a name is none of the target's RAM, or is given twice.
    """
    if options.pools is None:
        return [target.arena_pool]
    ram = {pool.name: pool for pool in target.pools if pool.kind == "ram"}
    if options.pools == "auto":
        names = [target.arena_pool.name, *(name for name in ram if name != target.arena_pool.name)]
    else:
        names = [name.strip() for name in options.pools.split(",")]
    for name in names:
        if name not in ram or names.count(name) > 1:
            raise UsageError(
                f"--pools {options.pools}: {name!r} is twice, or no RAM pool of {target.name}",
                f"There are {', '.join(ram)}.",
            )
    if len(names) > 1:
        _refuse_others(options)
    return [ram[name] for name in names]


def _refuse_others(options: BuildOptions) -> None:
    if options.threads > 1:
        raise UsageError("several pools and several threads", "Leave --pools or --threads out.")
    if options.keep_tensors:
        raise UsageError("several pools and --keep-tensors", "Leave one of them out.")


def _limits(pool: Pool, reserved_bytes: int) -> PlanPool:
    """Cycles per byte: the bandwidth, and the latency once for each word that it moves."""
    each = 1.0 + pool.latency_cycles
    return PlanPool(
        name=pool.name,
        capacity_bytes=max(pool.size_bytes - reserved_bytes, 0),
        read_cycles=each / pool.read_bytes_per_cycle,
        write_cycles=each / pool.write_bytes_per_cycle,
    )
