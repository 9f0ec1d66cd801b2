"""Hand-written kernels: a PrimFunc with explicit loops, for what tensor expressions cannot say.

Such a function reads and writes whole buffers in its own order, so it is marked opaque: it is
never fused with a neighbour.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812 - the name that TVMScript itself uses

from footprint_compiler.frontend.context import Context
from footprint_compiler.frontend.value import Value

OPAQUE = 8
Body = Callable[..., None]


def prim_func(
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    body: Body,
    scratch: Sequence[tuple[tuple[int, ...], str]] = (),
) -> Any:
    """A kernel ``f(*inputs, *outputs)`` whose statements ``body(*buffers)`` emits.

    ``body`` receives the buffers of inputs, outputs and scratch in this order. Only shape and
    dtype of the values are read; rank 0 becomes one element of rank 1.
    """
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        T.func_attr({"tirx.noalias": True, "op_pattern": OPAQUE})
        buffers = [
            T.arg(f"{kind}{i}", T.buffer(v.shape, v.dtype))
            for kind, values in (("a", inputs), ("b", outputs))
            for i, v in enumerate(values)
        ]
        with T.sblock("root"):
            temporary = [T.sblock_alloc_buffer(shape, dtype) for shape, dtype in scratch]
            body(*buffers, *temporary)
    return builder.get()


def emit_kernel(
    ctx: Context,
    name: str,
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    body: Body,
    scratch: Sequence[tuple[tuple[int, ...], str]] = (),
) -> tuple[Value, ...]:
    """Build a kernel with ``prim_func`` and call it."""
    return ctx.kernel(prim_func(inputs, outputs, body, scratch), name, inputs, outputs)


def like(shape: Sequence[int], dtype: str) -> Value:
    """Shape and dtype of an output that does not exist yet."""
    return Value(tuple(int(d) for d in shape), dtype)


def nest(shape: Sequence[int], body: Callable[[list[Any]], None]) -> None:
    """Loops over ``shape``, outermost first; ``body`` receives the loop variables."""
    _nest(list(shape), [], body)


def _nest(rest: list[int], found: list[Any], body: Callable[[list[Any]], None]) -> None:
    if not rest:
        body(found)
        return
    with T.serial(0, rest[0]) as var:
        _nest(rest[1:], [*found, var], body)


def store(buffer: Any, value: Any, indices: Sequence[Any]) -> None:
    """``buffer[indices] = value``; a buffer of rank 0 takes no indices."""
    T.buffer_store(buffer, value, list(indices))


def when(condition: Any, then: Callable[[], None]) -> None:
    """Run the statements of ``then`` if ``condition`` holds."""
    with T.If(condition), T.Then():
        then()


def number(value: Any, dtype: str) -> Any:
    """A TIR constant."""
    return tirx.const(value, dtype)


__all__ = ["T", "emit_kernel", "like", "nest", "number", "prim_func", "store", "when"]
