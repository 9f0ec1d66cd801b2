"""Orders of axes for the whole model by cost, and no transpose that a neighbour can absorb.

Every value is carried as (expression, permutation): logical = permute_dims(expr, permutation).
``layout_graph`` chooses for each operator the order in which it works, for all of them at once:
channels last or the model's order for convolutions and pools, which have kernels of their own for
the former, and any order that comes or goes for elementwise operators, reductions, concatenations,
slices, pads, softmax and reshapes, which work on the expression as it lies, with their axes mapped.
A transpose of the model only composes permutations. A permutation is carried out only where the
order of an operator differs from that of its operand, and one that moves only axes of size one is
a reshape, which costs nothing. ``layout_cost`` states what is compared.

Numbers are not changed at all: each element is computed by the same operations on the same values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import tvm
from tvm import relax

from footprint_compiler.kernels.machine import Machine
from footprint_compiler.passes.base import PassContext
from footprint_compiler.passes.layout_cost import LayoutCost
from footprint_compiler.passes.layout_graph import plan_layouts
from footprint_compiler.passes.layout_orders import Permutation, identity
from footprint_compiler.passes.layout_rules import RULES
from footprint_compiler.passes.rebuild import (
    Rebuilder,
    constant_array,
    is_constant,
    op_name,
    shape_of,
    tensor_constant,
)


@dataclass(frozen=True)
class Laid:
    """A value: logical = permute_dims(expr, perm)."""

    expr: Any
    perm: Permutation

    @property
    def plain(self) -> bool:
        """Whether the expression is in logical order."""
        return self.perm == tuple(range(len(self.perm)))


@dataclass(frozen=True)
class ChooseLayout:
    """See the module.

    Attributes:
        machine: whose instructions are estimated.
    """

    machine: Machine = field(default_factory=partial(Machine, 128, 32))
    name: str = "choose-layout"

    def run(self, module: Any, ctx: PassContext) -> Any:
        """Rewrite ``main``."""
        layouter = Layouter(module, ctx, self.name, LayoutCost(self.machine))
        if layouter.plan.operators:
            ctx.reporter.log(f"{self.name}: {layouter.plan}", "debug")
        return layouter.run()


class Layouter:
    """The state of one rewrite; rules in ``layout_rules`` use its methods."""

    def __init__(self, module: Any, ctx: PassContext, name: str, model: LayoutCost) -> None:
        self.name = name
        self.rebuilder = Rebuilder(module)
        self.builder = self.rebuilder.builder
        self.values = self.rebuilder.values
        self.ctx = ctx
        self.model = model
        self.users = readers(module["main"])
        self.plan = plan_layouts(module["main"], self.users, model)
        self.row_order: dict[Any, np.ndarray] = {}
        self._done: dict[tuple[Any, Permutation], Any] = {}

    def run(self) -> Any:
        """The rewritten module."""
        return self.rebuilder.run(self._visit, self._result, self._plain)

    def emit(self, expr: Any) -> Any:
        """Bind an expression."""
        return self.rebuilder.emit(expr)

    def order(self, var: Any) -> Permutation:
        """The order in which the operator that binds ``var`` works."""
        return self.plan.orders[var]

    def in_order(self, call: Any, var: Any) -> Laid:
        """The first operand of a call, brought to the order of the call."""
        perm = self.order(var)
        return Laid(self.laid_out(self.held(call.args[0]), perm), perm)

    def held(self, expr: Any) -> Laid:
        """The value that stands for an old tensor expression."""
        value = self.values.get(expr) if isinstance(expr, tvm.ir.Var) else None
        if isinstance(value, Laid):
            return value
        plain: Laid = self._plain(expr if value is None else value)
        return plain

    def logical(self, expr: Any) -> Any:
        """An expression in logical order for an old expression (tuples included)."""
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self.logical(item) for item in expr.fields])
        if isinstance(expr, tvm.ir.Var) and isinstance(self.values.get(expr), tuple):
            return relax.Tuple([self.laid_out(item, None) for item in self.values[expr]])
        if not isinstance(expr.ty, relax.TensorType):
            return self.values.get(expr, expr) if isinstance(expr, tvm.ir.Var) else expr
        return self.laid_out(self.held(expr), None)

    def laid_out(self, value: Laid, perm: Permutation | None) -> Any:
        """The expression e with logical = permute_dims(e, perm); ``perm`` None is logical order."""
        rank = len(value.perm)
        perm = tuple(range(rank)) if perm is None else perm
        axes = [0] * rank
        for mine, wanted in zip(value.perm, perm, strict=True):
            axes[wanted] = mine
        return self.transpose(value.expr, tuple(axes))

    def transpose(self, expr: Any, axes: Permutation) -> Any:
        """permute_dims, at build time for constants, a reshape where only unit axes move."""
        if axes == tuple(range(len(axes))):
            return expr
        key = (expr, axes)
        if key not in self._done:
            shape = shape_of(expr)
            moving = [axis for axis in axes if shape[axis] != 1]
            if is_constant(expr):
                array = np.ascontiguousarray(constant_array(expr).transpose(axes))
                self._done[key] = tensor_constant(array)
            elif moving == sorted(moving):
                target = tuple(shape[axis] for axis in axes)
                self._done[key] = self.emit(relax.op.reshape(expr, target))
            else:
                self._done[key] = self.emit(relax.op.permute_dims(expr, list(axes)))
                cost = self.model.change(
                    shape, str(expr.ty.dtype), identity(len(axes)), _inverse(axes)
                )
                self.ctx.decline(
                    self.name,
                    f"a transpose of {shape} by {axes} stays before {self.rebuilder.current}: "
                    f"about {cost:,.0f} instructions, cheaper than another order of its neighbours",
                )
        return self._done[key]

    def reshape(self, expr: Any, shape: Sequence[int]) -> Any:
        """reshape, at build time for constants."""
        if tuple(shape) == shape_of(expr):
            return expr
        if is_constant(expr):
            return tensor_constant(constant_array(expr).reshape(tuple(shape)))
        return self.emit(relax.op.reshape(expr, tuple(shape)))

    def _plain(self, expr: Any) -> Any:
        if not isinstance(expr.ty, relax.TensorType):
            return expr
        return Laid(expr, tuple(range(len(shape_of(expr)))))

    def _result(self, expr: Any) -> Any:
        return self.logical(expr)

    def _visit(self, var: Any, expr: Any) -> Any:
        if isinstance(expr, relax.TupleGetItem):
            held = self.values.get(expr.tuple_value)
            if isinstance(held, tuple):
                return held[expr.index]
            return self._plain(
                self.emit(relax.TupleGetItem(self.logical(expr.tuple_value), expr.index))
            )
        if isinstance(expr, relax.Tuple):
            return tuple(self.held(item) for item in expr.fields)
        if isinstance(expr, tvm.ir.Var):
            return self.values[expr]
        rule = RULES.get(op_name(expr))
        if rule is not None and (var in self.plan.orders or rule is RULES["relax.matmul"]):
            value = rule(self, expr, var)
            if value is not None:
                return value
        if isinstance(expr, relax.Call):
            arguments = [self.logical(argument) for argument in expr.args]
            emitted = self.emit(relax.Call(expr.op, arguments, expr.attrs, expr.ty_args))
            return self._plain(emitted)
        return self._plain(expr)


def _inverse(axes: Permutation) -> Permutation:
    return tuple(axes.index(axis) for axis in range(len(axes)))


def readers(main: Any) -> dict[Any, list[Any]]:
    """Variable -> calls that read it; a use by anything else appears as None."""
    users: dict[Any, list[Any]] = {}

    def note(expr: Any, call: Any) -> None:
        if isinstance(expr, tvm.ir.Var):
            users.setdefault(expr, []).append(call)
        elif isinstance(expr, relax.Tuple):
            for item in expr.fields:
                note(item, None)

    for block in main.body.blocks:
        for binding in block.bindings:
            value = binding.value
            if isinstance(value, relax.Call):
                for argument in value.args:
                    note(argument, value)
            elif isinstance(value, relax.TupleGetItem):
                note(value.tuple_value, None)
            else:
                note(value, None)
    note(main.body.body, None)
    return users
