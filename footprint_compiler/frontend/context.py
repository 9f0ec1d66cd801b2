"""What a converter may use: its node, and a builder that emits Relax with static shapes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from tvm import relax, tirx

from footprint_compiler.frontend.value import Value


class Refusal(Exception):  # noqa: N818 - it is a decision about one node, not an error of its own
    """A converter declines its node; becomes one row of ``UnsupportedModelError.nodes``."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True)
class Node:
    """One ONNX node with its inputs resolved.

    Attributes:
        name: the ONNX name, or one made from its first output.
        op_type, domain: the operator; ``""`` is ai.onnx.
        inputs: one value per input, None for an omitted one.
        attrs: attribute values as Python objects (text as str, tensors as arrays).
        outputs: output names, ``""`` for one that is not wanted.
        opset: version of the operator's domain.
    """

    name: str
    op_type: str
    domain: str
    inputs: tuple[Value | None, ...]
    attrs: Mapping[str, Any]
    outputs: tuple[str, ...]
    opset: int

    def optional(self, index: int) -> Value | None:
        """Input ``index``, or None when it is omitted."""
        return self.inputs[index] if index < len(self.inputs) else None

    def input(self, index: int) -> Value:
        """Input ``index``; refuses the node when it is omitted."""
        value = self.optional(index)
        if value is None:
            raise Refusal(f"input {index} is missing", "check the model with onnx.checker")
        return value

    def array(self, index: int) -> np.ndarray | None:
        """Compile-time value of input ``index``, None when omitted; refuses a run-time value."""
        value = self.optional(index)
        if value is None:
            return None
        if value.array is None:
            raise Refusal(
                f"input {index} must be known at compile time",
                "make it an initializer, or bind it with --constant",
            )
        return value.array

    def ints(self, attr: str, index: int) -> list[int] | None:
        """Integers that older opsets give as attribute and newer ones as an input."""
        if attr in self.attrs:
            given = self.attrs[attr]
            return [int(v) for v in given] if isinstance(given, Sequence) else [int(given)]
        array = self.array(index)
        return None if array is None else [int(v) for v in np.ravel(array)]


def normalize_axis(axis: int, rank: int) -> int:
    """Axis in ``[0, rank)``; refuses one outside ``[-rank, rank)``."""
    if not -max(rank, 1) <= axis < max(rank, 1):
        raise Refusal(f"axis {axis} is out of range for rank {rank}", "export the model again")
    return axis % max(rank, 1)


class Context:
    """Emits Relax bindings named after the ONNX node that they belong to."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self.node_name = ""
        self.layers: dict[str, str] = {}
        self._constants: dict[int, tuple[np.ndarray, Any]] = {}

    def expr(self, value: Value) -> Any:
        """The Relax expression of a value (a constant for compile-time values)."""
        if value.array is None:
            return value.expr
        known = self._constants.get(id(value.array))
        if known is None:
            known = (value.array, relax.const(value.array, value.dtype))
            self._constants[id(value.array)] = known
        return known[1]

    def emit(self, expr: Any) -> Value:
        """Bind a Relax expression of tensor type to a variable; its shape must be static."""
        var = self.builder.emit(expr, name_hint=self._hint())
        self.layers[str(var.name)] = self.node_name
        return value_of(var)

    def op(self, function: Callable[..., Any], *values: Value, **attrs: Any) -> Value:
        """Emit ``function(*expressions, **attrs)``."""
        return self.emit(function(*(self.expr(v) for v in values), **attrs))

    def te(
        self,
        function: Callable[..., Any],
        *values: Value,
        name: str,
        attrs: Mapping[str, Any] | None = None,
    ) -> Value:
        """Emit one kernel given as tensor expressions over the values; passes see ``attrs``."""
        return self.te_many(function, *values, name=name, attrs=attrs)[0]

    def te_many(
        self,
        function: Callable[..., Any],
        *values: Value,
        name: str,
        attrs: Mapping[str, Any] | None = None,
    ) -> tuple[Value, ...]:
        """Like ``te`` for a kernel with one or several outputs."""
        call = self.builder.call_te(
            function,
            *(self.expr(v) for v in values),
            primfunc_name_hint=name,
            **({"primfunc_attrs": dict(attrs)} if attrs else {}),
        )
        return self._unpack(self.builder.emit(call, name_hint=self._hint()))

    def kernel(
        self, function: Any, name: str, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> tuple[Value, ...]:
        """Emit a call of a hand-written PrimFunc ``function(*inputs, *outputs)``.

        Only shape and dtype of ``outputs`` are read.
        """
        symbol = self.builder.add_func(function, name)
        types = [relax.TensorType(v.shape, v.dtype) for v in outputs]
        call = relax.call_tir(
            symbol, [self.expr(v) for v in inputs], types if len(types) > 1 else types[0]
        )
        return self._unpack(self.builder.emit(call, name_hint=self._hint()))

    def _unpack(self, var: Any) -> tuple[Value, ...]:
        self.layers[str(var.name)] = self.node_name
        if not isinstance(var.ty, relax.TupleType):
            return (value_of(var),)
        count = len(var.ty.fields)
        return tuple(self.emit(relax.TupleGetItem(var, i)) for i in range(count))

    def _hint(self) -> str:
        return re.sub(r"\W", "_", self.node_name) or "node"


Convert = Callable[[Context, Node], Value | tuple[Value | None, ...]]
Table = dict[str, Convert]


def value_of(var: Any) -> Value:
    """The value of a Relax variable of tensor type; its shape must be static."""
    shape = var.ty.shape
    if shape is None or any(not isinstance(d, tirx.IntImm) for d in shape):
        raise Refusal("its output shape depends on data", "replace it by a fixed-size operator")
    return Value(tuple(int(d) for d in shape), str(var.ty.dtype), expr=var)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Attributes as Python objects: text decoded, tensors as arrays, graphs as GraphProto."""
    found: dict[str, Any] = {}
    for attr in node.attribute:
        value = onnx.helper.get_attribute_value(attr)
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        elif isinstance(value, onnx.TensorProto):
            value = onnx.numpy_helper.to_array(value)
        elif attr.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
            value = list(value)
        elif attr.type == onnx.AttributeProto.STRINGS:
            value = [v.decode("utf-8", "replace") for v in value]
        found[attr.name] = value
    return found
