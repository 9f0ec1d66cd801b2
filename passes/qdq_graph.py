"""What the rules of ``lower-qdq`` ask of a graph: where a float value is a quantized tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tvm

from footprint_compiler.kernels.c.operator import describe
from footprint_compiler.kernels.quantized import Output
from footprint_compiler.passes.rebuild import (
    Rebuilder,
    constant_array,
    count_uses,
    is_constant,
    op_name,
    tensor_constant,
)

LIMITS = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
}

REASONS = "fpc.reasons"
"""Attribute of ``main``: variable of an operator -> why no integer kernel computes it."""


@dataclass(frozen=True)
class Quantized:
    """A float value that is the image of a quantized tensor.

    Attributes:
        expr: the integer tensor, an expression of the new graph.
        array: its value where it is a constant.
        scale, zero_point: per tensor (size 1) or along ``axis``.
    """

    expr: Any
    array: np.ndarray | None
    scale: np.ndarray
    zero_point: np.ndarray
    axis: int

    @property
    def per_tensor(self) -> bool:
        """One scale and zero point for the whole tensor."""
        return self.scale.size == 1


@dataclass(frozen=True)
class Target:
    """The tensor that a QuantizeLinear writes, with clamps that precede it."""

    scale: float
    output: Output

    @property
    def unclamped(self) -> bool:
        """Whether every code of the dtype may be written."""
        return (self.output.low, self.output.high) == LIMITS[self.output.dtype]


Lower = Callable[["QdqGraph", Any, Target], Any]
"""(graph, float expression, how its codes shall be) -> integer operator or None."""


class QdqGraph:
    """Definitions of the old graph, and the new graph that is being built."""

    def __init__(self, module: Any, lower: Lower | None = None) -> None:
        self.rebuilder = Rebuilder(module)
        self._lower = lower
        self._uses = count_uses(module["main"])
        self._definitions = {
            binding.var: binding.value
            for block in module["main"].body.blocks
            for binding in block.bindings
        }
        self.reason = ""

    def decline(self, reason: str) -> Any:
        """Remember why a rule does not apply; None is the result of the rule."""
        self.reason = reason
        return None

    def definition(self, expr: Any) -> Any:
        """The old expression behind a variable (itself for anything else)."""
        return self._definitions.get(expr, expr) if isinstance(expr, tvm.ir.Var) else expr

    def lowered(self, expr: Any, target: Target) -> Any:
        """A variable with the codes of ``target`` for a float value that nobody else needs."""
        if self._lower is None or self._uses.get(expr, 0) != 1:
            return None
        call = self._lower(self, expr, target)
        return None if call is None else self.rebuilder.emit(call)

    def quantized(self, expr: Any) -> Quantized | None:
        """The quantized tensor behind a float expression."""
        return self.quantized_by(self.definition(expr))

    def quantized_by(self, producer: Any) -> Quantized | None:
        """The quantized tensor that a ``relax.dequantize`` reads; None for any other call."""
        if op_name(producer) != "relax.dequantize":
            return None
        scale, zero = producer.args[1], producer.args[2]
        if not is_constant(scale) or not is_constant(zero):
            return None
        if not _usable(constant_array(scale)):
            return None
        if constant_array(zero).size not in (1, constant_array(scale).size):
            return None
        integer = self.definition(producer.args[0])
        array = constant_array(integer) if is_constant(integer) else None
        return Quantized(
            self.rebuilder.renamed(producer.args[0]),
            array,
            constant_array(scale).astype("float64").ravel(),
            constant_array(zero).astype("int64").ravel(),
            int(producer.attrs.axis),
        )

    def activation(self, expr: Any) -> Quantized | None:
        """A quantized run-time tensor with one scale."""
        return self.activation_of(self.definition(expr))

    def activation_of(self, producer: Any) -> Quantized | None:
        """``activation`` for the call that dequantizes."""
        found = _with_one_scale(self.quantized_by(producer))
        return found if found is not None and found.array is None else None

    def operand(self, expr: Any) -> Quantized | None:
        """A quantized tensor with one scale, constant or not."""
        return _with_one_scale(self.quantized(expr))

    def output_of(self, call: Any) -> Target | None:
        """What a ``relax.quantize`` writes, where that is 8-bit or 16-bit with one scale."""
        scale, zero = call.args[1], call.args[2]
        dtype = str(call.ty.dtype)
        if dtype not in LIMITS or not is_constant(scale) or not is_constant(zero):
            return None
        scales, zeros = constant_array(scale).ravel(), constant_array(zero).ravel()
        if scales.size != 1 or not _usable(scales):
            return None
        low, high = LIMITS[dtype]
        return Target(float(scales[0]), Output(int(zeros[0]), low, high, dtype))

    def strip_clamps(self, expr: Any, target: Target) -> tuple[Any, Target]:
        """Move Relu and Clip in front of a QuantizeLinear into its clamp."""
        while True:
            producer = self.definition(expr)
            name = op_name(producer)
            if name == "relax.nn.relu":
                low, high = 0.0, np.inf
            elif name == "relax.clip":
                low, high = (_number(argument) for argument in producer.args[1:3])
            else:
                return expr, target
            output = target.output
            bounds = [self._code(value, target) for value in (low, high)]
            lowest, highest = max(output.low, bounds[0]), min(output.high, bounds[1])
            if lowest > highest:
                return expr, target
            target = replace(target, output=replace(output, low=lowest, high=highest))
            expr = producer.args[0]

    def _code(self, value: float, target: Target) -> int:
        """The code of a real number, as QuantizeLinear computes it in float32."""
        low, high = LIMITS[target.output.dtype]
        if not np.isfinite(value):
            return low if value < 0 else high
        ratio = np.rint(np.float32(value) / np.float32(target.scale))
        return int(np.clip(ratio + target.output.zero_point, low, high))


def _with_one_scale(found: Quantized | None) -> Quantized | None:
    """8-bit and 16-bit tensors of one scale and zero point only."""
    if found is None or not found.per_tensor or found.zero_point.size != 1:
        return None
    return found if str(found.expr.ty.dtype) in LIMITS else None


def _usable(scale: np.ndarray) -> bool:
    """Whether every scale is a positive number."""
    return bool(np.all(np.isfinite(scale)) and np.all(scale > 0))


def _number(expr: Any) -> float:
    value = getattr(expr, "value", expr)
    return float(getattr(value, "value", value))


def same_scale(a: Quantized, target: Target) -> bool:
    """Whether a tensor and an output have the same codes for the same numbers."""
    return (
        float(a.scale[0]) == target.scale
        and int(a.zero_point[0]) == target.output.zero_point
        and str(a.expr.ty.dtype) == target.output.dtype
    )


def is_narrow(x: Quantized) -> bool:
    """Whether a tensor has 8-bit codes, so that 256 entries are any function of one of them."""
    return str(x.expr.ty.dtype) in ("int8", "uint8")


def call_te(graph: QdqGraph, function: Any, *args: Any, pattern: int, name: str) -> Any:
    """A call of a tensor expression; ``pattern`` is TVM's fusion class.

    Relax expressions among ``args`` (they come first) become its tensors.
    """
    tensors = [arg for arg in args if isinstance(arg, tvm.ir.Expr)]
    rest = args[len(tensors) :]
    return graph.rebuilder.builder.call_te(
        lambda *inputs: function(*inputs, *rest),
        *tensors,
        primfunc_name_hint=name,
        primfunc_attrs={"op_pattern": pattern, **describe(function, len(tensors), rest)},
    )


def integers_constant(values: np.ndarray, dtype: str = "int32") -> Any:
    """A constant of integers, in int32 or ``dtype``.

    Raises:
        OverflowError: a value does not fit.
    """
    bounds = np.iinfo(dtype)
    if values.size and (values.max() > bounds.max or values.min() < bounds.min):
        raise OverflowError(f"a constant does not fit {dtype}")
    return tensor_constant(values.astype(dtype))
