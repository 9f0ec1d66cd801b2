"""Fold per-channel affine chains into the convolution or matrix product that feeds them.

    (W * x + b) * s + t  =  (s * W) * x + (s * b + t)          s, t constant per output channel

A batch normalization is the chain s = gamma / sqrt(var + eps), t = beta - mean * s. A chain that
does not follow a linear operator with constant weights becomes at most one multiply and one add.
Products are formed in float64 and rounded once, so results differ from the chain as written by
rounding only. A value that is used elsewhere ends the chain there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tvm
from tvm import relax

from footprint_compiler.passes.base import PassContext
from footprint_compiler.passes.rebuild import (
    Rebuilder,
    constant_array,
    count_uses,
    is_constant,
    op_name,
    shape_of,
    tensor_constant,
)

_LINEAR = {"relax.nn.conv2d": 1, "relax.nn.conv1d": 1}
"""Linear operator -> channel axis of its result."""


@dataclass(frozen=True)
class _Chain:
    """base * scale + shift, not yet emitted; ``axis`` is the channel axis of ``base``.

    ``name`` is that of the linear operator's variable.
    """

    base: Any
    linear: Any
    scale: np.ndarray
    shift: np.ndarray
    axis: int
    name: str = ""


@dataclass(frozen=True)
class FoldAffine:
    """See the module."""

    name: str = "fold-affine"

    def run(self, module: Any, ctx: PassContext) -> Any:
        """Rewrite ``main``."""
        return _Folding(module, ctx, self.name).run()


class _Folding:
    def __init__(self, module: Any, ctx: PassContext, name: str) -> None:
        self.name = name
        self.rebuilder = Rebuilder(module)
        self.builder = self.rebuilder.builder
        self.values = self.rebuilder.values
        self.ctx = ctx
        self.uses = count_uses(module["main"])

    def run(self) -> Any:
        return self.rebuilder.run(self._visit, self._result, lambda var: var)

    def _result(self, expr: Any) -> Any:
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self._result(item) for item in expr.fields])
        return self._force(expr)

    def _force(self, expr: Any) -> Any:
        """The expression that stands for an old one, chains emitted."""
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self._force(item) for item in expr.fields])
        if isinstance(expr, tvm.ir.Var) and expr in self.values:
            value = self.values[expr]
            if isinstance(value, _Chain):
                value = self._emit(value)
                self.values[expr] = value
            return value
        return expr

    def _visit(self, var: Any, expr: Any) -> Any:
        chain = self._start(var, expr) or self._extend(expr)
        if chain is not None:
            if self.uses.get(var, 0) == 1:
                return chain
            self.ctx.decline(self.name, f"the chain ends at {var.name}: it is used elsewhere")
            return self._emit(chain)
        if isinstance(expr, relax.TupleGetItem):
            held = self.values.get(expr.tuple_value)
            if isinstance(held, tuple):
                return held[expr.index]
            return self.rebuilder.emit(
                relax.TupleGetItem(self._force(expr.tuple_value), expr.index)
            )
        normalized = self._batch_norm(var, expr)
        if normalized is not None:
            return normalized
        if isinstance(expr, relax.Call):
            arguments = [self._force(argument) for argument in expr.args]
            return self.rebuilder.emit(relax.Call(expr.op, arguments, expr.attrs, expr.ty_args))
        return self._force(expr)

    def _start(self, var: Any, expr: Any) -> _Chain | None:
        name = op_name(expr)
        if name == "relax.matmul":
            if not is_constant(expr.args[1]) or len(shape_of(expr.args[1])) != 2:
                return None
            axis = len(shape_of(expr)) - 1
        elif name in _LINEAR and is_constant(expr.args[1]):
            axis = _LINEAR[name]
            layout = expr.attrs.data_layout
            if layout not in ("NCHW", "NCW"):
                return None
        else:
            return None
        if not str(expr.ty.dtype).startswith("float"):
            return None
        channels = shape_of(expr)[axis]
        return _Chain(None, expr, np.ones(channels), np.zeros(channels), axis, str(var.name))

    def _extend(self, expr: Any) -> _Chain | None:
        name = op_name(expr)
        if name not in _AFFINE or not str(expr.ty.dtype).startswith("float"):
            return None
        left, right = expr.args
        if is_constant(left) and is_constant(right):
            return None
        if is_constant(right):
            operand, constant, swapped = left, right, False
        elif is_constant(left) and name != "relax.divide":
            operand, constant, swapped = right, left, True
        else:
            return None
        if shape_of(operand) != shape_of(expr):
            return None
        held = self.values.get(operand)
        rank = len(shape_of(expr))
        if rank == 0:
            return None
        axis = held.axis if isinstance(held, _Chain) else (1 if rank > 2 else rank - 1)
        vector = _per_channel(constant, shape_of(expr), axis)
        if vector is None:
            self.ctx.decline(
                self.name,
                f"{self.rebuilder.current}: the constant varies along more than axis {axis}",
            )
            return None
        if isinstance(held, _Chain):
            chain = held
        else:
            channels = shape_of(expr)[axis]
            chain = _Chain(self._force(operand), None, np.ones(channels), np.zeros(channels), axis)
        with np.errstate(all="ignore"):
            scale, shift = _AFFINE[name](chain.scale, chain.shift, vector, swapped)
        if not _representable(str(expr.ty.dtype), scale, shift):
            self.ctx.decline(self.name, f"{self.rebuilder.current}: a factor is out of range")
            return None
        return replace(chain, scale=scale, shift=shift)

    def _batch_norm(self, var: Any, expr: Any) -> Any:
        """A tuple with the folded value, for a batch normalization with constant statistics."""
        if op_name(expr) != "relax.nn.batch_norm":
            return None
        x, *statistics = expr.args
        if not all(is_constant(item) for item in statistics):
            return None
        gamma, beta, mean, variance = (constant_array(c).astype("float64") for c in statistics)
        attrs = expr.attrs
        with np.errstate(all="ignore"):
            scale = (gamma if attrs.scale else 1.0) / np.sqrt(variance + float(attrs.epsilon))
            shift = (beta if attrs.center else 0.0) - mean * scale
        axis = int(attrs.axis)
        held = self.values.get(x)
        if not _representable(str(x.ty.dtype), scale, shift):
            self.ctx.decline(self.name, f"{self.rebuilder.current}: a factor is out of range")
            return None
        if isinstance(held, _Chain) and held.axis == axis:
            chain = replace(held, scale=held.scale * scale, shift=held.shift * scale + shift)
        else:
            chain = _Chain(self._force(x), None, scale, shift, axis)
        return (self._emit(chain),)

    def _emit(self, chain: _Chain) -> Any:
        emit = self.rebuilder.emit
        if chain.linear is not None:
            call = chain.linear
            dtype = str(call.ty.dtype)
            weights = call.args[1]
            if not np.all(chain.scale == 1):
                array = constant_array(weights).astype("float64")
                shape = [1] * array.ndim
                shape[-1 if op_name(call) == "relax.matmul" else 0] = -1
                weights = tensor_constant((array * chain.scale.reshape(shape)).astype(dtype))
            arguments = [self._force(call.args[0]), weights]
            value = emit(relax.Call(call.op, arguments, call.attrs, call.ty_args), chain.name)
        else:
            value = chain.base
            dtype = str(value.ty.dtype)
            if not np.all(chain.scale == 1):
                value = emit(relax.op.multiply(value, self._vector(chain, chain.scale, dtype)))
        if np.any(chain.shift != 0):
            value = emit(relax.op.add(value, self._vector(chain, chain.shift, dtype)))
        return value

    def _vector(self, chain: _Chain, values: np.ndarray, dtype: str) -> Any:
        rank = len(shape_of(chain.linear if chain.linear is not None else chain.base))
        shape = [1] * rank
        shape[chain.axis] = -1
        return tensor_constant(values.reshape(shape).astype(dtype))


def _per_channel(constant: Any, shape: tuple[int, ...], axis: int) -> np.ndarray | None:
    """The constant as one value per channel, or None when it varies along another axis."""
    array = constant_array(constant).astype("float64")
    array = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    if any(size != 1 for position, size in enumerate(array.shape) if position != axis):
        return None
    vector: np.ndarray = np.broadcast_to(array.reshape(-1), (shape[axis],))
    return vector


def _representable(dtype: str, *arrays: np.ndarray) -> bool:
    """Whether every value is zero or a normal number of ``dtype``."""
    limits = np.finfo(dtype)
    return all(
        bool(
            np.all((array == 0) | ((np.abs(array) >= limits.tiny) & (np.abs(array) <= limits.max)))
        )
        for array in arrays
    )


_AFFINE: dict[str, Any] = {
    "relax.add": lambda s, t, c, _: (s, t + c),
    "relax.subtract": lambda s, t, c, swapped: (-s, c - t) if swapped else (s, t - c),
    "relax.multiply": lambda s, t, c, _: (s * c, t * c),
    "relax.divide": lambda s, t, c, _: (s / c, t / c),
}
"""(scale, shift, constant, constant on the left) -> (scale, shift)."""
