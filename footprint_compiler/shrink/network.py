"""A model prepared for shrinking: names, shapes, and constants of which each has one owner."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import helper, numpy_helper

CONSTANT_OPERATORS = frozenset({"DequantizeLinear", "Transpose", "Reshape", "Identity"})


class Network:
    """A private copy of a model in which every constant operand belongs to one node.

    Attributes:
        model: the copy; its nodes and initializers are edited in place.
        weights: initializer name -> array; written back by ``finish``.
        constant_nodes: nodes computed from constants only, for example a dequantized weight.
        nodes: the others, in order.
        shapes, dtypes: static shape and NumPy dtype of every tensor that has them.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        graph = self.model.graph
        inputs = {i.name for i in graph.input}
        self.weights: dict[str, np.ndarray] = {
            t.name: numpy_helper.to_array(t) for t in graph.initializer if t.name not in inputs
        }
        self._kept = [t for t in graph.initializer if t.name in inputs]
        self._read_constant_nodes()
        self._names = set(self.weights) | inputs | {o for n in graph.node for o in n.output}
        self.constant_nodes: list[onnx.NodeProto] = []
        self.nodes: list[onnx.NodeProto] = []
        self.producer: dict[str, onnx.NodeProto] = {}
        self._divide()
        self._separate()
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, np.dtype] = {}
        self._infer()

    @property
    def opsets(self) -> list[onnx.OperatorSetIdProto]:
        return list(self.model.opset_import)

    def is_constant(self, name: str) -> bool:
        """The tensor is an initializer, or computed from initializers by a constant node."""
        return name in self.weights or name in self._constant

    def finish(self) -> onnx.ModelProto:
        """Write weights and nodes back; shapes of intermediate tensors are dropped."""
        graph = self.model.graph
        nodes = [*self.constant_nodes, *self.nodes]
        used = {name for node in nodes for name in reads(node)} | {o.name for o in graph.output}
        del graph.initializer[:]
        graph.initializer.extend(self._kept)
        graph.initializer.extend(
            numpy_helper.from_array(array, name)
            for name, array in self.weights.items()
            if name in used
        )
        copies = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
        del graph.node[:]
        graph.node.extend(copies)
        del graph.value_info[:]
        return self.model

    def _read_constant_nodes(self) -> None:
        others = []
        for node in self.model.graph.node:
            array = _constant_value(node)
            if array is None:
                others.append(node)
            else:
                self.weights[node.output[0]] = array
        self._others = [onnx.NodeProto.FromString(n.SerializeToString()) for n in others]

    def _divide(self) -> None:
        self._constant: set[str] = set()
        for node in self._others:
            inputs = [name for name in node.input if name]
            fixed = node.op_type in CONSTANT_OPERATORS and len(node.output) == 1
            if fixed and inputs and all(self.is_constant(name) for name in inputs):
                self._constant.add(node.output[0])
                self.constant_nodes.append(node)
            else:
                self.nodes.append(node)
            self.producer.update((name, node) for name in node.output)

    def _separate(self) -> None:
        """Copy constants with several readers; equal ones are shared again at the end."""
        claimed = {o.name for o in self.model.graph.output}
        for node in self.nodes:
            claimed.update(captured(node))
        for node in self.nodes:
            for index, name in enumerate(node.input):
                if name and self.is_constant(name):
                    node.input[index] = self._claim(name, claimed)

    def _claim(self, name: str, claimed: set[str]) -> str:
        first = name not in claimed
        own = name if first else self._fresh(name)
        claimed.add(own)
        if name in self.weights:
            self.weights[own] = self.weights[name]
            return own
        node = self.producer[name]
        if not first:
            node = onnx.NodeProto.FromString(node.SerializeToString())
            node.output[0] = own
            self.producer[own] = node
            self._constant.add(own)
        for index, operand in enumerate(node.input):
            if operand:
                node.input[index] = self._claim(operand, claimed)
        if not first:
            self.constant_nodes.append(node)
        return own

    def _fresh(self, name: str) -> str:
        number = 1
        while f"{name}/copy_{number}" in self._names:
            number += 1
        self._names.add(f"{name}/copy_{number}")
        return f"{name}/copy_{number}"

    def _infer(self) -> None:
        inferred = onnx.shape_inference.infer_shapes(self.finish(), data_prop=True).graph
        for info in [*inferred.input, *inferred.value_info, *inferred.output]:
            tensor = info.type.tensor_type
            dims = [d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim]
            if (
                info.type.HasField("tensor_type")
                and tensor.HasField("shape")
                and min(dims, default=1) > 0
            ):
                self.shapes[info.name] = tuple(dims)
                self.dtypes[info.name] = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        for name, array in self.weights.items():
            self.shapes[name], self.dtypes[name] = array.shape, array.dtype


def _constant_value(node: onnx.NodeProto) -> np.ndarray | None:
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
        return None
    attribute = node.attribute[0]
    value = helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return numpy_helper.to_array(value)
    if attribute.name in ("value_int", "value_ints"):
        return np.asarray(value, np.int64)
    if attribute.name in ("value_float", "value_floats"):
        return np.asarray(value, np.float32)
    return None


def captured(node: onnx.NodeProto) -> Iterator[str]:
    """Names read by the subgraphs of a node."""
    for attribute in node.attribute:
        graphs = [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
        for graph in graphs:
            yield from (o.name for o in graph.output)
            for inner in graph.node:
                yield from reads(inner)


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """Names that a node reads, itself or in its subgraphs."""
    yield from node.input
    yield from captured(node)
