"""Softmax and log-softmax along the innermost axis, row by row, without scratch.

softmax(x)_i = exp(x_i - m) / sum_j exp(x_j - m),  m = max_j x_j
log_softmax(x)_i = (x_i - m) - log(sum_j exp(x_j - m))

The exponentials are kept in the output until they are scaled, so the output may take over the
storage of the input.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from tvm import relax, tirx

from footprint_compiler.kernels.machine import Machine
from footprint_compiler.kernels.tir import FAMILY, index, local, loop, prim_func, ramp, seq, splat


def softmax_rows(shape: tuple[int, ...], machine: Machine, log: bool) -> Any:
    """A ``PrimFunc`` (x, out) of float32 buffers of ``shape``."""
    extent, rows = shape[-1], prod(shape[:-1])
    dims = [index(size) for size in shape]
    x = tirx.decl_buffer(dims, "float32", name="x")
    out = tirx.decl_buffer(dims, "float32", name="out")
    lanes = machine.lanes("float32")
    flat = [tirx.decl_buffer([index(rows * extent)], "float32", name=n) for n in ("x_", "out_")]
    views = [tirx.DeclBuffer(flat[0], data=x.data), tirx.DeclBuffer(flat[1], data=out.data)]
    body = loop(
        "row", 0, rows, lambda row: _row(flat[0], flat[1], row * index(extent), extent, lanes, log)
    )
    return prim_func(
        [x, out], seq([*views, body]), {"tirx.noalias": False, "op_pattern": 8, FAMILY: "softmax"}
    )


def _row(x: Any, out: Any, base: Any, extent: int, lanes: int, log: bool) -> Any:
    largest = local("largest", lanes, "float32")
    total = local("total", lanes, "float32")
    peak = local("peak", 1, "float32")
    sum_ = local("sum", 1, "float32")

    def at(buffer: Any, where: Any, count: int) -> Any:
        return tirx.BufferLoad(buffer, [ramp(where, count)])

    def take_largest(where: Any, count: int) -> Any:
        value = tirx.max(at(largest, 0, count), at(x, where, count))
        return tirx.BufferStore(largest, value, [ramp(0, count)])

    def exponentiate(where: Any, count: int) -> Any:
        shifted = at(x, where, count) - splat(tirx.BufferLoad(peak, [index(0)]), count)
        power = tirx.exp(shifted)
        if log:
            return tirx.BufferStore(total, at(total, 0, count) + power, [ramp(0, count)])
        return seq(
            [
                tirx.BufferStore(out, power, [ramp(where, count)]),
                tirx.BufferStore(
                    total, at(total, 0, count) + at(out, where, count), [ramp(0, count)]
                ),
            ]
        )

    def finish(where: Any, count: int) -> Any:
        scale = splat(tirx.BufferLoad(sum_, [index(0)]), count)
        if not log:
            return tirx.BufferStore(out, at(out, where, count) * scale, [ramp(where, count)])
        shifted = at(x, where, count) - splat(tirx.BufferLoad(peak, [index(0)]), count)
        return tirx.BufferStore(out, shifted - scale, [ramp(where, count)])

    def gather(
        into: Any, start: float | Any, lane_values: Any, combine: Callable[[Any, Any], Any]
    ) -> Any:
        def step(lane: Any) -> Any:
            old = tirx.BufferLoad(into, [index(0)])
            return tirx.BufferStore(
                into, combine(old, tirx.BufferLoad(lane_values, [lane])), [index(0)]
            )

        return seq([tirx.BufferStore(into, start, [index(0)]), loop("lane", 0, lanes, step)])

    lowest = tirx.min_value("float32")
    zero = tirx.const(0.0, "float32")
    one = tirx.const(1.0, "float32")
    total_sum = tirx.BufferLoad(sum_, [index(0)])
    final = tirx.log(total_sum) if log else one / total_sum
    return seq(
        [
            *[tirx.AllocBuffer(buffer) for buffer in (largest, total, peak, sum_)],
            tirx.BufferStore(largest, splat(lowest, lanes), [ramp(0, lanes)]),
            tirx.BufferStore(total, splat(zero, lanes), [ramp(0, lanes)]),
            _sweep(base, extent, lanes, take_largest),
            gather(peak, lowest, largest, tirx.max),
            _sweep(base, extent, lanes, exponentiate),
            gather(sum_, zero, total, lambda a, b: a + b),
            tirx.BufferStore(sum_, final, [index(0)]),
            _sweep(base, extent, lanes, finish),
        ]
    )


def _sweep(base: Any, extent: int, lanes: int, step: Callable[[Any, int], Any]) -> Any:
    """``step`` over a row: whole vectors, then single elements."""
    vectors, rest = divmod(extent, lanes) if lanes > 1 else (0, extent)
    parts = []
    if vectors:
        parts.append(loop("v", 0, vectors, lambda v: step(base + v * index(lanes), lanes)))
    if rest:
        parts.append(loop("i", extent - rest, extent, lambda i: step(base + i, 1)))
    return seq(parts)


def softmax_legalization(machine: Machine, log: bool) -> Any:
    """The rule for ``relax.nn.softmax`` (or its logarithm) along the last axis of float32."""

    def legalize(bb: Any, call: Any) -> Any:
        shape = [int(extent) for extent in call.ty.shape]
        axis = int(call.attrs.axis) % max(len(shape), 1)
        if not shape or axis != len(shape) - 1 or str(call.ty.dtype) != "float32":
            return None
        func = softmax_rows(tuple(shape), machine, log)
        name = "log_softmax" if log else "softmax"
        return relax.call_tir(bb.add_func(func, name), [call.args[0]], call.ty)

    return legalize
