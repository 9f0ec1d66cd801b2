"""Take a fused TIR function apart: one tagged anchor, and the elementwise work around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx

from footprint_compiler.kernels.anchors import TAG
from footprint_compiler.kernels.tir import substitute


@dataclass(frozen=True)
class Fused:
    """An anchor with its epilogue.

    Attributes:
        kind: value of the anchor's tag.
        attrs: the anchor's attributes (stride, padding, ...).
        operands: the function's parameter buffers that the anchor reads, in the anchor's order.
        params: all parameter buffers, inputs first, the output last.
        output: the buffer that the function writes.
        accumulator: dtype of the anchor's own result.
        axes: the output's iteration variables in order.
    """

    kind: str
    attrs: Mapping[str, Any]
    operands: tuple[Any, ...]
    params: tuple[Any, ...]
    output: Any
    accumulator: str
    out_shape: tuple[int, ...]
    _vars: tuple[Any, ...]
    _value: Any
    _acc: Any

    @property
    def value(self) -> Any:
        """The epilogue: the stored value, over the anchor's result; None without one."""
        return self._value

    @property
    def channel(self) -> Any:
        """The epilogue's last iteration variable."""
        return self._vars[-1]

    def position(self, buffer: Any) -> int:
        """Index of ``buffer`` among the parameters."""
        return next(at for at, param in enumerate(self.params) if param.same_as(buffer))

    def is_result(self, buffer: Any) -> bool:
        """Whether ``buffer`` is the anchor's result."""
        return self._acc is not None and bool(buffer.same_as(self._acc))

    def reads_own_element(self, load: Any) -> bool:
        """Whether ``load`` reads the element that the epilogue writes."""
        own = [int(extent) for extent in load.source.shape] == list(self.out_shape)
        return own and _identity(load.indices, self._vars, self.out_shape)

    def store(self, indices: Sequence[Any], accumulator: Any) -> Any:
        """The statement that finishes one output element: epilogue applied, then stored."""
        mapping = dict(zip(self._vars, indices, strict=True))

        def load(expr: Any) -> Any:
            return accumulator if expr.source.same_as(self._acc) else expr

        if self._acc is None:
            return tirx.BufferStore(self.output, accumulator, list(indices))
        value = substitute(self._value, mapping)
        value = tvm_ffi.structural_map(value, (tvm.ir.TensorLoad, load))
        return tirx.BufferStore(self.output, value, list(indices))

    def epilogue_touches(self, buffer: Any) -> bool:
        """Whether the epilogue reads ``buffer`` at all."""
        touched = False

        def visit(expr: Any) -> None:
            nonlocal touched
            touched = touched or bool(expr.source.same_as(buffer))

        if self._acc is not None:
            tvm_ffi.structural_walk(self._value, (tvm.ir.TensorLoad, visit))
        return touched

    def reads_exactly(self, buffer: Any) -> bool:
        """Whether the epilogue reads ``buffer`` only at the element that it writes."""
        exact = True

        def visit(expr: Any) -> None:
            nonlocal exact
            own = len(expr.indices) == len(self._vars) and _identity(
                expr.indices, self._vars, self.out_shape
            )
            exact = exact and (own or not expr.source.same_as(buffer))

        if self._acc is not None:
            tvm_ffi.structural_walk(self._value, (tvm.ir.TensorLoad, visit))
        return exact

    def epilogue_reads(self) -> list[Any]:
        """Parameter buffers that the epilogue reads at exactly the element that it writes."""
        found: list[Any] = []
        spoiled: list[Any] = []
        if self._acc is None:
            return found

        def visit(expr: Any) -> None:
            exact = len(expr.indices) == len(self._vars) and _identity(
                expr.indices, self._vars, self.out_shape
            )
            (found if exact else spoiled).append(expr.source)

        tvm_ffi.structural_walk(self._value, (tvm.ir.TensorLoad, visit))
        return [
            buffer
            for buffer in found
            if any(buffer.same_as(param) for param in self.params)
            and not any(buffer.same_as(other) for other in (*spoiled, *self.operands))
        ]


def take_apart(func: Any) -> Fused | None:
    """The anchor and epilogue of ``func``, or None when it is not of that form."""
    if not isinstance(func.body, s_tir.SBlockRealize):
        return None
    schedule = s_tir.Schedule(tvm.IRModule({"main": func}))
    blocks = schedule.get_child_blocks(schedule.get_sblock("root"))
    tagged = [b for b in blocks if TAG in schedule.get(b).annotations]
    if len(tagged) != 1:
        return None
    position = next(
        i for i, b in enumerate(blocks) if schedule.get(b).same_as(schedule.get(tagged[0]))
    )
    if position != 0:
        return None
    try:
        for block in blocks[1:-1]:
            schedule.compute_inline(block)
    except s_tir.schedule.ScheduleError:
        return None
    anchor = schedule.get(tagged[0])
    lowered = schedule.mod["main"]
    params = tuple(lowered.params)
    output = params[-1]
    kind = str(anchor.annotations[TAG])
    attrs = {str(key): _plain(value) for key, value in anchor.annotations.items()}
    acc = anchor.writes[0].source
    operands = _operands(anchor, acc)
    known = all(any(operand.same_as(param) for param in params) for operand in operands)
    if not known:
        return None
    out_shape = tuple(int(extent) for extent in acc.shape)
    if len(blocks) == 1:
        return Fused(
            kind,
            attrs,
            operands,
            params,
            output,
            str(acc.dtype),
            out_shape,
            tuple(range(len(out_shape))),
            None,
            None,
        )
    final = schedule.get(blocks[-1])
    variables = tuple(iter_var.var for iter_var in final.iter_vars)
    extents = tuple(int(iter_var.dom.extent) for iter_var in final.iter_vars)
    if extents != out_shape:  # the epilogue broadcasts the anchor's result
        return None
    store = final.body
    if not isinstance(store, tirx.BufferStore) or not store.buffer.same_as(output):
        return None
    if len(store.indices) != len(out_shape) or len(variables) != len(out_shape):
        return None
    if not _identity(store.indices, variables, out_shape):
        return None
    fused = Fused(
        kind,
        attrs,
        operands,
        params,
        output,
        str(acc.dtype),
        out_shape,
        variables,
        store.value,
        acc,
    )
    return fused if _reads_own_element(store.value, acc, variables, out_shape) else None


def _plain(value: Any) -> Any:
    if isinstance(value, (str, int)):
        return value
    if hasattr(value, "value"):
        return value.value
    if isinstance(value, Sequence) or hasattr(value, "__iter__"):
        return [_plain(item) for item in value]
    return value


def _operands(anchor: Any, acc: Any) -> tuple[Any, ...]:
    found: list[Any] = []
    for region in anchor.reads:
        buffer = region.source
        if not buffer.same_as(acc) and not any(buffer.same_as(other) for other in found):
            found.append(buffer)
    return tuple(found)


def _identity(indices: Sequence[Any], variables: Sequence[Any], shape: Sequence[int]) -> bool:
    return all(
        at.same_as(var) or (size == 1 and isinstance(at, tirx.IntImm) and int(at) == 0)
        for at, var, size in zip(indices, variables, shape, strict=True)
    )


def _reads_own_element(
    value: Any, acc: Any, variables: Sequence[Any], shape: Sequence[int]
) -> bool:
    fine = True

    def visit(expr: Any) -> None:
        nonlocal fine
        if expr.source.same_as(acc) and not _identity(expr.indices, variables, shape):
            fine = False

    tvm_ffi.structural_walk(value, (tvm.ir.TensorLoad, visit))
    return fine
