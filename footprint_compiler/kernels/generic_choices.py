"""What is free in kernels without a generator of their own: their innermost loops.

The innermost loops of a scheduled function may be cut into vectors, where their iterations are
independent and fill whole registers, and their bodies written out. By default LLVM decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tvm_ffi
from tvm import tirx
from tvm.s_tir.schedule import ScheduleError

from footprint_compiler.kernels.decisions import choose
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.kernels.tir import prim_func, substitute
from footprint_compiler.kernels.written_out import TIMES, written_out
from footprint_compiler.tensor import DTYPE_BYTES

PLAIN, VECTORS = "plain", "vectors"
PARTS = (2, 3, 4, 7)
"""Iterations that may be written out, where they divide the extent."""


def shape_innermost(schedule: Any, machine: Machine) -> None:
    """Ask for the shape of the innermost loop of every block, and give it to them."""
    loops = list(_innermost(schedule))
    wide = [(block, at) for block, at in loops if _fills_registers(schedule, block, at, machine)]
    kinds = (PLAIN, *((VECTORS,) if wide else ()))
    kind = choose("innermost", PLAIN, kinds)
    extents = [_extent(schedule, at) for _, at in loops]
    whole = tuple(part for part in PARTS if any(extent % part == 0 for extent in extents))
    times = choose("unroll", 1, (1, *whole))
    for block, at in loops:
        outer = at
        if kind == VECTORS and _fills_registers(schedule, block, at, machine):
            outer = _vectorize(schedule, at, _lanes(schedule, block, machine))
        if times > 1 and outer is not None and _extent(schedule, outer) % times == 0:
            schedule.unroll(schedule.split(outer, [None, times])[1])


def _innermost(schedule: Any) -> Iterator[tuple[Any, Any]]:
    """(block, loop) of every block whose innermost loop has at least two iterations."""
    for block in schedule.get_child_blocks(schedule.get_sblock("root")):
        loops = schedule.get_loops(block)
        if loops and _extent(schedule, loops[-1]) > 1:
            yield block, loops[-1]


def _extent(schedule: Any, at: Any) -> int:
    extent = schedule.get(at).extent
    return int(extent) if isinstance(extent, tirx.IntImm) else 1


def _lanes(schedule: Any, block: Any, machine: Machine) -> int:
    dtype = str(schedule.get(block).writes[0].source.dtype)
    return machine.lanes(dtype) if dtype in DTYPE_BYTES else 1


def _fills_registers(schedule: Any, block: Any, at: Any, machine: Machine) -> bool:
    lanes = _lanes(schedule, block, machine)
    if lanes == 1 or _extent(schedule, at) % lanes:
        return False
    trial = schedule.copy()
    return _vectorize(trial, trial.get_loops(block)[-1], lanes, probe=True) is not None


def _vectorize(schedule: Any, at: Any, lanes: int, probe: bool = False) -> Any:
    """The loop around the vectors, or None where there is none or (``probe``) no vector."""
    outer = None
    if _extent(schedule, at) > lanes:
        outer, at = schedule.split(at, [None, lanes])
    try:
        schedule.vectorize(at)
    except ScheduleError:
        return None
    return at if probe else outer


def write_out_innermost(func: Any) -> Any:
    """A function that is no schedule, with the bodies of its innermost loops written out or not."""
    found: list[Any] = []
    tvm_ffi.structural_walk(func.body, (tirx.For, found.append))
    plain = [stmt for stmt in found if _can_be_written_out(stmt)]
    if not plain:
        return func

    def replace(stmt: Any) -> Any:
        if not any(stmt.loop_var.same_as(other.loop_var) for other in plain):
            return stmt
        body = stmt.body

        def at(value: Any) -> Any:
            return substitute(body, {stmt.loop_var: value})

        return written_out(stmt.loop_var.name, 0, int(stmt.extent), at)

    times = choose("unroll", 1, TIMES)
    if times == 1:
        return func
    body = tvm_ffi.structural_map(func.body, (tirx.For, replace))
    return prim_func(func.params, body, dict(func.attrs.items()) if func.attrs else None)


def _can_be_written_out(stmt: Any) -> bool:
    """A serial loop from zero with a static extent that contains no loop and defines nothing."""
    if int(stmt.kind) != tirx.ForKind.SERIAL or not isinstance(stmt.extent, tirx.IntImm):
        return False
    if not isinstance(stmt.min, tirx.IntImm) or int(stmt.min) or int(stmt.extent) < 2:
        return False
    inside: list[Any] = []
    for kind in (tirx.For, tirx.AllocBuffer, tirx.DeclBuffer, tirx.Bind):
        tvm_ffi.structural_walk(stmt.body, (kind, inside.append))
    return not inside
