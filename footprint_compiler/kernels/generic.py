"""The schedule for everything without a generator of its own.

Cheap producers are inlined. A reduction is split from its initialisation, its elementwise
consumer moves into its outer loops so that no full accumulator exists, and where the innermost
access is contiguous in a spatial axis, that axis goes inside the reduction. A function that is
one elementwise block is written out as vectors with a scalar rest, or as one nest for each part of
a concatenation. ``generic_choices`` has what is free after that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx
from tvm.s_tir.schedule import ScheduleError

from footprint_compiler.kernels.decisions import choose
from footprint_compiler.kernels.every_nth import every_nth
from footprint_compiler.kernels.generic_choices import shape_innermost, write_out_innermost
from footprint_compiler.kernels.generic_rows import ElementwiseRows, elementwise_rows
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.kernels.segments import segmented
from footprint_compiler.kernels.tir import (
    CONDITIONAL,
    index,
    loop,
    prim_func,
    seq,
    substitute,
    unravel,
)

CHEAP_CALLS = (CONDITIONAL, "tirx.fabs")
"""Intrinsics that cost no more than an addition, so that computing them again is fine."""


@dataclass(frozen=True)
class Scheduled:
    """A scheduled function, the parameters whose storage its output may take over, its rows."""

    func: Any
    in_place: tuple[int, ...] = ()
    rows: ElementwiseRows | None = None


def schedule_generic(func: Any, machine: Machine) -> Scheduled:
    """Schedule ``func`` (structured TIR; anything else is returned as it is)."""
    if not isinstance(func.body, s_tir.SBlockRealize):
        return Scheduled(write_out_innermost(func))
    schedule = s_tir.Schedule(tvm.IRModule({"main": func}))
    root = schedule.get_sblock("root")
    for block in list(schedule.get_child_blocks(root))[:-1]:
        if not _is_reduction(schedule, block) and _worth_inlining(schedule, block):
            _attempt(schedule.compute_inline, block)
    blocks = list(schedule.get_child_blocks(root))
    if len(blocks) == 1 and not _is_reduction(schedule, blocks[0]):
        written = _elementwise(schedule.mod["main"], schedule.get(blocks[0]), machine)
        if written is not None:
            return written
    for block in blocks:
        if _is_reduction(schedule, block):
            _attempt(_place_reduction, schedule, block)
    shape_innermost(schedule, machine)
    return Scheduled(schedule.mod["main"])


def _attempt(action: Callable[..., Any], *args: Any) -> None:
    try:
        action(*args)
    except ScheduleError:
        return


def _is_reduction(schedule: Any, block: Any) -> bool:
    kinds = (int(var.iter_type) for var in schedule.get(block).iter_vars)
    return any(kind == tirx.IterVar.CommReduce for kind in kinds)


def _worth_inlining(schedule: Any, block: Any) -> bool:
    """Anything used once; used twice or in a reduction, only what is cheap to compute again."""
    consumers = schedule.get_consumers(block)
    if len(consumers) <= 1 and not any(_is_reduction(schedule, c) for c in consumers):
        return True
    costly = False

    def visit(call: Any) -> None:
        nonlocal costly
        costly = costly or not isinstance(call.op, tvm.ir.Op) or call.op.name not in CHEAP_CALLS

    tvm_ffi.structural_walk(schedule.get(block).body, (tvm.ir.Call, visit))
    return not costly


def _follows(schedule: Any, consumer: Any, producer: Any) -> bool:
    """Whether the consumer may move into the producer's loops.

    Those visit only the elements of the consumer that need one of the producer. A condition, as
    padding has, may make elements that need none, unless each is computed from its own.
    """
    if _is_reduction(schedule, consumer):
        return False
    conditions: list[Any] = []

    def visit(call: Any) -> None:
        if isinstance(call.op, tvm.ir.Op) and call.op.name == CONDITIONAL:
            conditions.append(call)

    block, made = schedule.get(consumer), schedule.get(producer).writes[0].source
    tvm_ffi.structural_walk(block.body, (tvm.ir.Call, visit))
    extents = {iter_var.var: int(iter_var.dom.extent) for iter_var in block.iter_vars}
    loads = [load for load in _loads(block.body) if load.source.same_as(made)]
    return not conditions or all(
        isinstance(at, tirx.IntImm) or extents.get(at) == int(size)
        for load in loads
        for at, size in zip(load.indices, made.shape, strict=True)
    )


def _place_reduction(schedule: Any, block: Any) -> None:
    loops = schedule.get_loops(block)
    kinds = [int(var.iter_type) for var in schedule.get(block).iter_vars]
    if len(kinds) != len(loops):
        return
    pairs = list(zip(loops, kinds, strict=True))
    spatial = [at for at, kind in pairs if kind != tirx.IterVar.CommReduce]
    reduce = [at for at, kind in pairs if kind == tirx.IterVar.CommReduce]
    inside = bool(spatial) and _contiguous_in_last_spatial(schedule, block)
    outer = spatial[:-1] if inside else spatial
    if inside:
        schedule.reorder(*outer, *reduce, spatial[-1])
    consumers = schedule.get_consumers(block)
    if outer and len(consumers) == 1 and _follows(schedule, consumers[0], block):
        _attempt(schedule.reverse_compute_at, consumers[0], outer[-1])
    schedule.decompose_reduction(block, reduce[0])


def _contiguous_in_last_spatial(schedule: Any, block: Any) -> bool:
    """Whether every read's last index is the last spatial variable."""
    stmt = schedule.get(block)
    spatial = [v.var for v in stmt.iter_vars if int(v.iter_type) != tirx.IterVar.CommReduce]
    output = stmt.writes[0].source
    result = True

    def visit(load: Any) -> None:
        nonlocal result
        if load.indices and not load.source.same_as(output):
            result = result and load.indices[-1].same_as(spatial[-1])

    tvm_ffi.structural_walk(stmt.body, (tvm.ir.TensorLoad, visit))
    return result


def _elementwise(func: Any, block: Any, machine: Machine) -> Scheduled | None:
    """One block that stores element after element: vectors over the flat index, then the rest."""
    store = block.body
    variables = [iter_var.var for iter_var in block.iter_vars]
    shape = [int(iter_var.dom.extent) for iter_var in block.iter_vars]
    if not isinstance(store, tirx.BufferStore) or not _identity(store.indices, variables, shape):
        return None
    if shape != [int(extent) for extent in store.buffer.shape] or block.init is not None:
        return None
    loads = _loads(store.value)
    exact = [load for load in loads if _identity(load.indices, variables, shape)]
    flat = len(exact) == len(loads) and not _uses(store.value, variables, exact)
    params = list(func.params)
    in_place = tuple(
        position
        for position, param in enumerate(params[:-1])
        if str(param.dtype) == str(store.buffer.dtype)
        and [int(e) for e in param.shape] == shape
        and any(load.source.same_as(param) for load in exact)
        and all(load in exact for load in loads if load.source.same_as(param))
    )
    attrs = {"tirx.noalias": not in_place}
    rows = elementwise_rows(params, store, variables, machine, attrs)
    picked = every_nth(store, variables, machine)
    if picked is not None:
        return Scheduled(prim_func(params, picked, attrs), in_place, rows)
    if not flat:
        parts = segmented(store, variables, shape)
        if parts is not None:
            return Scheduled(prim_func(params, parts, attrs), in_place, rows)
        free = s_tir.Schedule(tvm.IRModule({"main": func}))
        shape_innermost(free, machine)
        shaped = free.mod["main"].with_attr("tirx.noalias", not in_place)
        return Scheduled(shaped, in_place, rows)
    total = prod(shape)
    lanes = _vector_length(machine.lanes(str(store.buffer.dtype)), total)

    def element(position: Any) -> Any:
        coordinates = unravel(position, shape)
        mapping = dict(zip(variables, coordinates, strict=True))
        return tirx.BufferStore(store.buffer, substitute(store.value, mapping), coordinates)

    def vector(block_index: Any) -> Any:
        first = block_index * index(lanes)
        return loop("lane", 0, lanes, lambda lane: element(first + lane), tirx.ForKind.VECTORIZED)

    vectors, rest = divmod(total, lanes) if lanes > 1 else (0, total)
    parts = [loop("v", 0, vectors, vector)] if vectors else []
    if rest:
        parts.append(loop("i", total - rest, total, element))
    return Scheduled(prim_func(params, seq(parts), attrs), in_place, rows)


def _vector_length(lanes: int, total: int) -> int:
    """Elements that are computed at once: one register, or more of them side by side."""
    several = tuple(lanes * times for times in (2, 4) if lanes > 1 and lanes * times <= total)
    return choose("lanes", lanes, (lanes, *several))


def _identity(indices: Any, variables: list[Any], shape: list[int]) -> bool:
    return len(indices) == len(variables) and all(
        at.same_as(var) or (size == 1 and isinstance(at, tirx.IntImm) and int(at) == 0)
        for at, var, size in zip(indices, variables, shape, strict=True)
    )


def _loads(value: Any) -> list[Any]:
    found: list[Any] = []
    tvm_ffi.structural_walk(value, (tvm.ir.TensorLoad, found.append))
    return found


def _uses(value: Any, variables: list[Any], loads: list[Any]) -> bool:
    """Whether ``value`` needs a variable outside the indices of ``loads``."""
    uses = 0

    def count(var: Any) -> None:
        nonlocal uses
        uses += any(var.same_as(other) for other in variables)

    tvm_ffi.structural_walk(value, (tvm.ir.Var, count))
    inside = sum(
        sum(1 for at in load.indices if any(at.same_as(v) for v in variables)) for load in loads
    )
    return uses != inside
