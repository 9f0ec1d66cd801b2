"""Walk an ONNX graph once: fold, expand functions, convert the rest, list every refusal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx

from footprint_compiler.errors import FpcError, ModelFileError, ModelLimitError
from footprint_compiler.frontend.context import Context, Node, Refusal, attributes
from footprint_compiler.frontend.control import select_branch
from footprint_compiler.frontend.converters.basic import cast
from footprint_compiler.frontend.expand import REPLACE, expand_function, outputs_typed_like
from footprint_compiler.frontend.fold import fold_node
from footprint_compiler.frontend.macs import node_macs
from footprint_compiler.frontend.registry import CONVERTERS, why_unsupported
from footprint_compiler.frontend.value import Value, constant
from footprint_compiler.tensor import DTYPE_BYTES

MAX_TENSOR_BYTES = 1 << 31
Row = tuple[str, str, str, str]


class Driver:
    """State of one import.

    Attributes:
        refused: rows (node name, operator, reason, what to do).
        macs: multiply-accumulates by node name, for nodes that have any.
        inside: how many operators' definitions are being converted, one within another.
        values: variable by tensor name, of what the graph computes at run time; after the walk.
    """

    def __init__(self, context: Context, opsets: Mapping[str, int]) -> None:
        self.context = context
        self.opsets = opsets
        self.refused: list[Row] = []
        self.macs: dict[str, int] = {}
        self.inside = 0
        self.values: dict[str, Any] = {}

    def run(self, graph: onnx.GraphProto, scope: dict[str, Value | None]) -> None:
        """Convert ``graph``; ``scope`` maps tensor names to values, None after a refused node."""
        for initializer in graph.initializer:
            scope[initializer.name] = initializer_value(initializer)
        for sparse in graph.sparse_initializer:
            self._refuse(
                sparse.values.name, "sparse initializer", "it is not dense", "store it dense"
            )
            scope[sparse.values.name] = None
        for index, node in enumerate(graph.node):
            self._node(node, node.name or f"{node.op_type}_{index}", scope)

    def _node(self, proto: onnx.NodeProto, name: str, scope: dict[str, Value | None]) -> None:
        missing = [i for i in proto.input if i and i not in scope]
        if missing and self.inside:
            raise Refusal(f"its definition reads {missing[0]}, which it does not define", REPLACE)
        if missing:
            raise ModelFileError(
                f"node {name} reads {missing[0]}, which nothing computes before it"
            )
        twice = [o for o in proto.output if o and o in scope]
        if twice:
            raise ModelFileError(f"node {name} computes {twice[0]}, which has a value already")
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        opset = self.opsets.get(domain, 1)
        inputs = tuple(scope[i] if i else None for i in proto.input)
        if any(i and scope[i] is None for i in proto.input):
            unknown = why_unsupported(proto.op_type, domain, opset)
            if unknown is not None:
                self._refuse(name, _operator(proto), *unknown)
            scope.update(dict.fromkeys(filter(None, proto.output)))
            return
        self.context.node_name = name
        try:
            results = self._convert(proto, name, domain, opset, inputs, scope)
            values = [_checked(value, name) for value in results]
        except Refusal as refusal:
            self._refuse(name, _operator(proto), refusal.reason, refusal.remedy)
            scope.update(dict.fromkeys(filter(None, proto.output)))
            return
        except FpcError:
            raise
        except Exception as error:  # shapes or attributes that contradict the operator
            reason = f"its inputs or attributes do not fit it ({error_line(error)})"
            self._refuse(name, _operator(proto), reason, "check the model with onnx.checker")
            scope.update(dict.fromkeys(filter(None, proto.output)))
            return
        for output, value in zip(proto.output, values, strict=False):
            if output:
                scope[output] = value

    def _convert(
        self,
        proto: onnx.NodeProto,
        name: str,
        domain: str,
        opset: int,
        inputs: tuple[Value | None, ...],
        scope: dict[str, Value | None],
    ) -> tuple[Value | None, ...]:
        folded = fold_node(proto, inputs, opset)
        if folded is not None:
            return folded
        if proto.op_type == "If" and not domain:
            return self._branch(select_branch(proto, inputs), scope)
        node = Node(
            name, proto.op_type, domain, inputs, attributes(proto), tuple(proto.output), opset
        )
        key = (domain, proto.op_type)
        unknown = why_unsupported(proto.op_type, domain, opset)
        if unknown is not None:
            raise Refusal(*unknown)
        if key in CONVERTERS:
            result = CONVERTERS[key](self.context, node)
            values = result if isinstance(result, tuple) else (result,)
            macs = node_macs(node, values)
            if macs:
                self.macs[name] = self.macs.get(name, 0) + macs
            return values
        return self._expanded(proto, node)

    def _branch(
        self, graph: onnx.GraphProto, scope: Mapping[str, Value | None]
    ) -> tuple[Value | None, ...]:
        inner = dict(scope)
        self.run(graph, inner)
        return tuple(inner[output.name] for output in graph.output)

    def _expanded(self, proto: onnx.NodeProto, node: Node) -> tuple[Value | None, ...]:
        """Convert the operator's definition; float16 is computed in float32 and rounded once."""
        node, narrow = self._widened(node)
        body = expand_function(proto, node)
        inner: dict[str, Value | None] = dict(zip(body.inputs, node.inputs, strict=False))
        outer, self.opsets = self.opsets, body.opsets
        before = len(self.refused)
        self.inside += 1
        try:
            for index, step in enumerate(body.nodes):
                self._node(step, f"{node.name}/{step.op_type}_{index}", inner)
        finally:
            self.opsets = outer
            self.inside -= 1
        if len(self.refused) > before:
            row = self.refused[before]
            del self.refused[before:]
            raise Refusal(f"its definition needs {row[1]}: {row[2]}", row[3])
        found = [inner.get(output) for output in body.outputs]
        for index in narrow:
            value = found[index] if index < len(found) else None
            if value is not None and value.dtype == "float32":
                found[index] = cast(self.context, value, "float16")
        return tuple(found)

    def _widened(self, node: Node) -> tuple[Node, list[int]]:
        """The node with float32 for float16 inputs, and the outputs that share their type."""
        half = [v is not None and v.dtype == "float16" for v in node.inputs]
        if not any(half):
            return node, []
        inputs = tuple(
            cast(self.context, v, "float32") if v is not None and v.dtype == "float16" else v
            for v in node.inputs
        )
        return replace(node, inputs=inputs), outputs_typed_like(node, half)

    def _refuse(self, name: str, operator: str, reason: str, remedy: str) -> None:
        self.refused.append((name, operator, reason, remedy))


def _operator(proto: onnx.NodeProto) -> str:
    return f"{proto.domain}::{proto.op_type}" if proto.domain else str(proto.op_type)


def _checked(value: Value | None, name: str) -> Value | None:
    """Refuse dtypes that the device has not; give empty tensors their (only) value."""
    if value is None:
        return None
    if value.array is None and (value.dtype not in DTYPE_BYTES or value.dtype == "bfloat16"):
        raise Refusal(f"dtype {value.dtype} is not supported", "use a supported dtype")
    if value.array is None and 0 in value.shape:
        return constant(np.zeros(value.shape, value.dtype))
    bytes_needed = math.prod(value.shape) * DTYPE_BYTES.get(value.dtype, 1)
    if bytes_needed > MAX_TENSOR_BYTES:
        raise ModelLimitError(f"node {name} computes a tensor of {bytes_needed} bytes")
    return value


def initializer_value(tensor: onnx.TensorProto) -> Value:
    """The constant of an initializer; ModelFileError when its bytes do not fit its shape."""
    try:
        return constant(onnx.numpy_helper.to_array(tensor))
    except Exception as error:
        raise ModelFileError(
            f"initializer {tensor.name} is damaged: {error_line(error)}"
        ) from error


def error_line(error: BaseException) -> str:
    """The last line of an error's text: libraries put the cause there."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:200]
