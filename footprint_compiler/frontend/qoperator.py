"""Quantized operators of ONNX Runtime and ONNX, rewritten as dequantize, compute, quantize.

``QLinearX(a, ..., y_scale, y_zero_point)`` becomes
``QuantizeLinear(X(DequantizeLinear(a), ...), y_scale, y_zero_point)``, which is its definition: an
integer lowering sees one form only. ConvInteger and MatMulInteger are exact integer operators and
have converters of their own (converters/integer.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

MICROSOFT = "com.microsoft"


@dataclass
class _Rewrite:
    """Nodes that replace one quantized node.

    Attributes:
        half: float16 tensors; as scales they are widened, so that only the result is rounded.
    """

    node: onnx.NodeProto
    attrs: Mapping[str, Any]
    half: frozenset[str] = frozenset()
    nodes: list[onnx.NodeProto] = field(default_factory=list)

    def input(self, index: int) -> str:
        return self.node.input[index] if index < len(self.node.input) else ""

    def add(self, operator: str, inputs: list[str], **attrs: Any) -> str:
        """Append a node; the name of its output."""
        index = len(self.nodes)
        base = self.node.name or self.node.output[0]
        output = f"{self.node.output[0]}/{operator}_{index}"
        self.nodes.append(
            helper.make_node(operator, inputs, [output], name=f"{base}/{operator}_{index}", **attrs)
        )
        return output

    def real(self, first: int, axis: int | None = None) -> str:
        """Dequantize the tensor whose value, scale and zero point are inputs ``first...``."""
        names = [self.input(first), self.scale(first + 1), self.input(first + 2)]
        return self.add("DequantizeLinear", names, **({} if axis is None else {"axis": axis}))

    def scale(self, index: int) -> str:
        """Input ``index`` as float32."""
        name = self.input(index)
        return self.add("Cast", [name], to=onnx.TensorProto.FLOAT) if name in self.half else name

    def constant(self, array: np.ndarray) -> str:
        return self.add("Constant", [], value=numpy_helper.from_array(array))

    def finish(self, real: str, scale: int) -> list[onnx.NodeProto]:
        """Quantize ``real`` with inputs ``scale`` and ``scale + 1``; it is the node's output."""
        names = [real, self.scale(scale), self.input(scale + 1)]
        self.nodes.append(
            helper.make_node(
                "QuantizeLinear",
                [n for n in names if n],
                [self.node.output[0]],
                name=f"{self.node.name or self.node.output[0]}/QuantizeLinear",
            )
        )
        return self.nodes

    def done(self, real: str) -> list[onnx.NodeProto]:
        """``real`` itself is the node's output."""
        self.nodes[-1].output[0] = self.node.output[0]
        return self.nodes


def _conv(r: _Rewrite) -> list[onnx.NodeProto]:
    inputs = [r.real(0), r.real(3, axis=0)]
    if r.input(8):
        scale = r.add("Mul", [r.input(1), r.input(4)])
        inputs.append(r.add("DequantizeLinear", [r.input(8), scale], axis=0))
    return r.finish(r.add("Conv", inputs, **r.attrs), 6)


def _matmul(r: _Rewrite) -> list[onnx.NodeProto]:
    product = r.add("MatMul", [r.real(0, axis=-2), r.real(3, axis=-1)])
    return r.finish(product, 6)


def _gemm(r: _Rewrite) -> list[onnx.NodeProto]:
    axis = 0 if r.attrs.get("transB", 0) else 1
    inputs = [r.real(0), r.real(3, axis=axis)]
    if r.input(6):
        scale = r.add("Mul", [r.input(1), r.input(4)])
        if float(r.attrs.get("alpha", 1.0)) != 1.0:
            alpha = r.constant(np.asarray(r.attrs["alpha"], dtype="float32"))
            scale = r.add("Mul", [scale, alpha])
        inputs.append(r.add("DequantizeLinear", [r.input(6), scale], axis=-1))
    y = r.add("Gemm", inputs, **r.attrs)
    return r.finish(y, 7) if r.input(7) else r.done(y)


def _binary(operator: str) -> Callable[[_Rewrite], list[onnx.NodeProto]]:
    return lambda r: r.finish(r.add(operator, [r.real(0), r.real(3)]), 6)


def _unary(operator: str) -> Callable[[_Rewrite], list[onnx.NodeProto]]:
    return lambda r: r.finish(r.add(operator, [r.real(0)], **r.attrs), 3)


def _pool(operator: str) -> Callable[[_Rewrite], list[onnx.NodeProto] | None]:
    def rewrite(r: _Rewrite) -> list[onnx.NodeProto] | None:
        attrs = {k: v for k, v in r.attrs.items() if k != "channels_last"}
        if r.attrs.get("channels_last", 0):
            return None
        return r.finish(r.add(operator, [r.real(0)], **attrs), 3)

    return rewrite


def _softmax(r: _Rewrite) -> list[onnx.NodeProto]:
    """Attribute ``opset`` says whether axes from ``axis`` on are one (before 13) or not."""
    x = r.real(0)
    if int(r.attrs.get("opset", 13)) >= 13:
        return r.finish(r.add("Softmax", [x], axis=int(r.attrs.get("axis", -1))), 3)
    flat = r.add("Flatten", [x], axis=int(r.attrs.get("axis", 1)))
    soft = r.add("Softmax", [flat], axis=1)
    return r.finish(r.add("Reshape", [soft, r.add("Shape", [x])]), 3)


def _concat(r: _Rewrite) -> list[onnx.NodeProto]:
    parts = [r.real(i) for i in range(2, len(r.node.input), 3)]
    return r.finish(r.add("Concat", parts, axis=int(r.attrs["axis"])), 0)


def _where(r: _Rewrite) -> list[onnx.NodeProto]:
    return r.finish(r.add("Where", [r.input(0), r.real(1), r.real(4)]), 7)


def _mean(r: _Rewrite) -> list[onnx.NodeProto]:
    return r.finish(r.add("ReduceMean", [r.real(0)], **r.attrs), 3)


def _rename(r: _Rewrite) -> list[onnx.NodeProto]:
    r.nodes.append(
        helper.make_node(
            r.node.op_type, list(r.node.input), list(r.node.output), r.node.name, **r.attrs
        )
    )
    return r.nodes


def _matmul_to_float(r: _Rewrite) -> list[onnx.NodeProto]:
    """Inputs: a, b, a_scale, b_scale, a_zero_point, b_zero_point, bias."""
    a = r.add("DequantizeLinear", [n for n in (r.input(0), r.input(2), r.input(4)) if n])
    b = r.add("DequantizeLinear", [n for n in (r.input(1), r.input(3), r.input(5)) if n], axis=-1)
    y = r.add("MatMul", [a, b])
    return r.done(r.add("Add", [y, r.input(6)]) if r.input(6) else y)


REWRITES: dict[tuple[str, str], Callable[[_Rewrite], list[onnx.NodeProto] | None]] = {
    ("", "QLinearConv"): _conv,
    ("", "QLinearMatMul"): _matmul,
    (MICROSOFT, "QLinearConv"): _conv,
    (MICROSOFT, "QLinearMatMul"): _matmul,
    (MICROSOFT, "QGemm"): _gemm,
    (MICROSOFT, "QLinearAdd"): _binary("Add"),
    (MICROSOFT, "QLinearMul"): _binary("Mul"),
    (MICROSOFT, "QLinearAveragePool"): _pool("AveragePool"),
    (MICROSOFT, "QLinearGlobalAveragePool"): _pool("GlobalAveragePool"),
    (MICROSOFT, "QLinearSoftmax"): _softmax,
    (MICROSOFT, "QLinearSigmoid"): _unary("Sigmoid"),
    (MICROSOFT, "QLinearLeakyRelu"): _unary("LeakyRelu"),
    (MICROSOFT, "QLinearConcat"): _concat,
    (MICROSOFT, "QLinearWhere"): _where,
    (MICROSOFT, "QLinearReduceMean"): _mean,
    (MICROSOFT, "MatMulIntegerToFloat"): _matmul_to_float,
    (MICROSOFT, "QuantizeLinear"): _rename,
    (MICROSOFT, "DequantizeLinear"): _rename,
}


def rewrite_quantized_operators(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model in QDQ form; the model itself when there is nothing to rewrite."""
    if not any((n.domain, n.op_type) in REWRITES for n in _nodes(model.graph)):
        return model
    rewritten = onnx.ModelProto()
    rewritten.CopyFrom(model)
    _rewrite_graph(rewritten.graph, _half(rewritten.graph))
    return rewritten


def _half(graph: onnx.GraphProto) -> frozenset[str]:
    kind = onnx.TensorProto.FLOAT16
    infos = [*graph.input, *graph.value_info]
    return frozenset(
        [t.name for t in graph.initializer if t.data_type == kind]
        + [i.name for i in infos if i.type.tensor_type.elem_type == kind]
    )


def _nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    found = list(graph.node)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found.extend(_nodes(attribute.g))
    return found


def _rewrite_graph(graph: onnx.GraphProto, half: frozenset[str]) -> None:
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rewrite_graph(attribute.g, half)
        rule = REWRITES.get((node.domain, node.op_type))
        attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        made = rule(_Rewrite(node, attrs, half)) if rule and node.output else None
        nodes.extend([node] if made is None else made)
    del graph.node[:]
    graph.node.extend(nodes)
