"""The schedule for everything without a generator of its own.

Cheap producers are inlined, reductions are split from their initialisation and, where that makes
the innermost access contiguous, reordered; the vectorizer of LLVM does the rest.
"""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx
from tvm.s_tir.schedule import ScheduleError

from footprint_compiler.kernels.machine import Machine


def schedule_generic(func: Any, machine: Machine) -> Any:
    """A scheduled copy of ``func`` (structured TIR in, structured TIR out)."""
    if not _is_structured(func):
        return func
    schedule = s_tir.Schedule(tvm.IRModule({"main": func}))
    root = schedule.get_sblock("root")
    for block in list(schedule.get_child_blocks(root))[:-1]:
        if not _is_reduction(schedule, block) and _worth_inlining(schedule, block):
            _attempt(schedule.compute_inline, block)
    for block in schedule.get_child_blocks(root):
        if _is_reduction(schedule, block):
            _attempt(_split_reduction, schedule, block)
    return schedule.mod["main"]


def _is_structured(func: Any) -> bool:
    body = func.body
    return isinstance(body, s_tir.SBlockRealize) if hasattr(s_tir, "SBlockRealize") else True


def _attempt(action: Any, *args: Any) -> None:
    try:
        action(*args)
    except ScheduleError:
        return


def _is_reduction(schedule: Any, block: Any) -> bool:
    return any(int(var.iter_type) == tirx.IterVar.CommReduce for var in schedule.get(block).iter_vars)


def _worth_inlining(schedule: Any, block: Any) -> bool:
    """Anything used once; used twice or in a reduction, only what is cheap to compute again."""
    consumers = schedule.get_consumers(block)
    if len(consumers) <= 1 and not any(_is_reduction(schedule, c) for c in consumers):
        return True
    calls = 0

    def count(_: Any) -> None:
        nonlocal calls
        calls += 1

    tvm_ffi.structural_walk(schedule.get(block).body, (tvm.ir.Call, count))
    return calls == 0


def _split_reduction(schedule: Any, block: Any) -> None:
    loops = schedule.get_loops(block)
    kinds = [int(var.iter_type) for var in schedule.get(block).iter_vars]
    if len(kinds) != len(loops):
        return
    spatial = [l for l, kind in zip(loops, kinds, strict=True) if kind != tirx.IterVar.CommReduce]
    reduce = [l for l, kind in zip(loops, kinds, strict=True) if kind == tirx.IterVar.CommReduce]
    if spatial and _contiguous_in_last_spatial(schedule, block):
        schedule.reorder(*spatial[:-1], *reduce, spatial[-1])
    schedule.decompose_reduction(block, reduce[0])


def _contiguous_in_last_spatial(schedule: Any, block: Any) -> bool:
    """Whether every read's last index moves with the last spatial variable and no reduced one."""
    stmt = schedule.get(block)
    spatial = [v.var for v in stmt.iter_vars if int(v.iter_type) != tirx.IterVar.CommReduce]
    result = True

    def visit(expr: Any) -> None:
        nonlocal result
        if expr.indices and not expr.source.same_as(stmt.writes[0].source):
            result = result and expr.indices[-1].same_as(spatial[-1])

    tvm_ffi.structural_walk(stmt.body, (tvm.ir.TensorLoad, visit))
    return result
