"""Every n-th element of a tensor: out[i] = x[n * i + first], as the halves of shuffled channels.

LLVM gathers such elements one by one. Here whole vectors of x are loaded, those that are not wanted
too, and their lanes picked by shuffles.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import tvm
from tvm import tirx

from footprint_compiler.kernels.machine import Machine
from footprint_compiler.kernels.tir import index, loop, ramp, seq, substitute

MOST = 4
"""The largest n: more vectors would be loaded for one than scalars picked."""


def every_nth(store: Any, variables: Sequence[Any], machine: Machine) -> Any:
    """The statement, or None where ``store`` is something else or fills no vector.

    Args:
        store: of one element of the output (..., 1), whose value is one of x (..., n); all other
            indices are the same.
        variables: iteration variables of the output in order.
        machine: vector unit.
    """
    load, out = store.value, store.buffer
    if not isinstance(load, tvm.ir.TensorLoad) or str(out.dtype) == "bool":
        return None
    x = load.source
    shape, source = ([int(extent) for extent in each.shape] for each in (out, x))
    if len(shape) < 2 or len(source) != len(shape) or source[:-1] != shape[:-1] or shape[-1] != 1:
        return None
    same = zip(load.indices[:-1], variables[:-1], shape[:-1], strict=True)
    if not all(at.same_as(v) or (size == 1 and _is_zero(at)) for at, v, size in same):
        return None
    count, total, dtype = source[-1], prod(shape), str(out.dtype)
    place = substitute(load.indices[-1], {variables[-1]: index(0)})
    first = tvm.sym.Analyzer().simplify(place)
    lanes = machine.lanes(dtype)
    if not isinstance(first, tirx.IntImm) or not 2 <= count <= MOST or not 1 < lanes <= total:
        return None
    flat_x = tirx.decl_buffer([index(total * count)], x.dtype, name="x_")
    flat_out = tirx.decl_buffer([index(total)], out.dtype, name="out_")
    picked = [tirx.const(lane * count + int(first), "int32") for lane in range(lanes)]

    def vector(block: Any) -> Any:
        begin = block * index(lanes)
        loaded = tirx.BufferLoad(flat_x, [ramp(begin * index(count), lanes * count)])
        return tirx.BufferStore(flat_out, tirx.Shuffle([loaded], picked), [ramp(begin, lanes)])

    def element(at: Any) -> Any:
        value = tirx.BufferLoad(flat_x, [at * index(count) + first])
        return tirx.BufferStore(flat_out, value, [at])

    vectors = total // lanes
    views = [tirx.DeclBuffer(flat_x, data=x.data), tirx.DeclBuffer(flat_out, data=out.data)]
    loops = [loop("v", 0, vectors, vector), loop("i", vectors * lanes, total, element)]
    return seq([*views, *loops] if total % lanes else [*views, loops[0]])


def _is_zero(at: Any) -> bool:
    return isinstance(at, tirx.IntImm) and int(at) == 0
