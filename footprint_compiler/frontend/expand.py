"""The definition of an operator that ONNX itself gives as a function of other operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from footprint_compiler.frontend.context import Node, Refusal
from footprint_compiler.frontend.value import Value

NO_CONVERTER = "fpc has no kernel for this operator"
REPLACE = "replace it, or export the model without it; see `fpc supported-ops`"


def has_definition(op_type: str, domain: str, opset: int) -> bool:
    """Whether ONNX gives the operator as a function, for some input types at least."""
    try:
        schema: Any = onnx.defs.get_schema(op_type, opset, domain)
    except onnx.defs.SchemaError:
        return False
    return bool(schema.has_function or schema.has_context_dependent_function)


@dataclass(frozen=True)
class Body:
    """Nodes that compute ``outputs`` from ``inputs``, in the opsets given."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[onnx.NodeProto, ...]
    opsets: Mapping[str, int]


def expand_function(proto: onnx.NodeProto, node: Node) -> Body:
    """Function body of the operator's schema, with attributes filled in.

    Raises:
        Refusal: the operator has no schema, or its schema has no body for these input types.
    """
    try:
        schema: Any = onnx.defs.get_schema(node.op_type, node.opset, node.domain)
    except onnx.defs.SchemaError as error:
        raise Refusal(NO_CONVERTER, REPLACE) from error
    function = _function(schema, proto, node)
    if function is None:
        raise Refusal(NO_CONVERTER, REPLACE)
    defaults = {
        name: attribute.default_value
        for name, attribute in schema.attributes.items()
        if attribute.default_value.type != onnx.AttributeProto.UNDEFINED
    }
    given = {**defaults, **{a.name: a for a in proto.attribute}}
    absent = {
        name
        for index, name in enumerate(function.input)
        if index >= len(proto.input) or not proto.input[index]
    }
    nodes = tuple(_instantiate(step, given, absent) for step in function.node)
    opsets = {"" if o.domain == "ai.onnx" else o.domain: o.version for o in function.opset_import}
    return Body(tuple(function.input), tuple(function.output), nodes, {"": node.opset, **opsets})


def outputs_typed_like(node: Node, inputs: Sequence[bool]) -> list[int]:
    """Numbers of the outputs whose type the schema ties to that of a marked input."""
    try:
        schema: Any = onnx.defs.get_schema(node.op_type, node.opset, node.domain)
    except onnx.defs.SchemaError:
        return []
    formal = list(schema.inputs)
    types = {formal[min(i, len(formal) - 1)].type_str for i, marked in enumerate(inputs) if marked}
    return [i for i, output in enumerate(schema.outputs) if output.type_str in types]


def _function(schema: Any, proto: onnx.NodeProto, node: Node) -> onnx.FunctionProto | None:
    body = onnx.FunctionProto()
    if schema.has_function:
        versions = [v for v in schema.function_opset_versions if v <= max(node.opset, 1)]
        version = max(versions or schema.function_opset_versions)
        body.ParseFromString(schema.get_function_with_opset_version(version))
        return body
    if schema.has_context_dependent_function:
        types = [_type(v).SerializeToString() for v in node.inputs]
        allowed = schema.context_dependent_function_opset_versions
        versions = [v for v in allowed if v <= max(node.opset, 1)]
        text = schema.get_context_dependent_function_with_opset_version(
            max(versions or allowed), proto.SerializeToString(), types
        )
        if text:
            body.ParseFromString(text)
            return body
    return None


def _type(value: Value | None) -> onnx.TypeProto:
    if value is None:
        return onnx.TypeProto()
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype))
    return onnx.helper.make_tensor_type_proto(kind, value.shape)


def _instantiate(
    step: onnx.NodeProto, given: Mapping[str, onnx.AttributeProto], absent: set[str]
) -> onnx.NodeProto:
    """A copy of ``step`` with references to the function's attributes and inputs resolved."""
    made = onnx.NodeProto()
    made.CopyFrom(step)
    del made.attribute[:]
    for attribute in step.attribute:
        if not attribute.ref_attr_name:
            made.attribute.append(attribute)
        elif attribute.ref_attr_name in given:
            found = onnx.AttributeProto()
            found.CopyFrom(given[attribute.ref_attr_name])
            found.name = attribute.name
            made.attribute.append(found)
    for index, name in enumerate(step.input):
        if name in absent:
            made.input[index] = ""
    return made
