"""Convolutions over one axis as convolutions over two, for which there are integer kernels.

    conv1d(x, w) = squeeze(conv2d(unsqueeze(x), unsqueeze(w)))          both at axis 2

Only the shapes change, so every bit stays. Functions of single elements that follow the convolution
alone go along, to stay next to it, and a tensor that is squeezed only to be unsqueezed again is
neither. Weights are constants, or dequantized constants.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from footprint_compiler.frontend.quantized_io import graph_constants

AXIS = 2
_FOLLOWERS = frozenset(
    {
        "BatchNormalization", "Clip", "Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu",
        "Sigmoid", "Softplus", "Tanh",
    }
)  # fmt: skip
_ONES = ("kernel_shape", "strides", "dilations", "output_shape")


def lift_convolutions(model: onnx.ModelProto, only_quantized: bool) -> onnx.ModelProto:
    """The same model with convolutions over two axes; itself if unchanged.

    Args:
        only_quantized: leave alone those with weights in float.
    """
    if any(a.HasField("g") or a.graphs for node in model.graph.node for a in node.attribute):
        return model  # a subgraph may read any tensor by its name
    constants = graph_constants(model.graph)
    dequantizers = {
        node.output[0]: node
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and not node.domain and node.input[0] in constants
    }
    chosen = set()
    for node in model.graph.node:
        if node.op_type not in ("Conv", "ConvTranspose") or node.domain:
            continue
        behind = dequantizers.get(node.input[1])
        stored = constants.get(behind.input[0] if behind else node.input[1])
        if stored is not None and len(stored.dims) == 3 and (behind or not only_quantized):
            chosen.add(node.output[0])
    if not chosen:
        return model
    lifted = onnx.ModelProto()
    lifted.CopyFrom(model)
    nodes = list(_Lift(lifted.graph, _version(model), constants, dequantizers).nodes(chosen))
    read = {name for node in nodes for name in node.input} | {o.name for o in lifted.graph.output}
    kept = [node for node in nodes if read.intersection(node.output)]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    del lifted.graph.node[:]
    lifted.graph.node.extend(copies)
    return lifted


def _version(model: onnx.ModelProto) -> int:
    return max(int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx"))


class _Lift:
    """Writes the nodes of one graph anew.

    Attributes:
        wide: tensor -> the name under which it has the further axis.
    """

    def __init__(
        self,
        graph: onnx.GraphProto,
        version: int,
        constants: Mapping[str, onnx.TensorProto],
        dequantizers: Mapping[str, onnx.NodeProto],
    ) -> None:
        self.graph, self.version = graph, version
        self.constants, self.dequantizers = constants, dequantizers
        self.wide: dict[str, str] = {}
        self.uses = Counter(name for node in graph.node for name in node.input)
        self.uses.update(output.name for output in graph.output)
        if version >= 13:
            axis = numpy_helper.from_array(np.array([AXIS], np.int64), "fpc/second_axis")
            graph.initializer.append(axis)

    def nodes(self, chosen: set[str]) -> Iterator[onnx.NodeProto]:
        """All nodes in order; those of ``chosen`` outputs lifted."""
        pending: dict[str, str] = {}  # written with two axes only, alone read by what follows
        for node in list(self.graph.node):
            given = node.input[0] if node.input else ""
            if node.output and node.output[0] in chosen:
                yield from self._convolution(node)
            elif given in pending and node.op_type in _FOLLOWERS and not node.domain:
                moved = _with(node, {0: pending.pop(given)}, f"{node.output[0]}/row")
                self.wide[node.output[0]] = moved.output[0]
                yield moved
            else:
                for name in [name for name in node.input if name in pending]:
                    yield self._axis("Squeeze", pending.pop(name), name)
                yield node
                continue
            made = node.output[0]
            pending[made] = self.wide[made]
            if self.uses[made] != 1 or made in {output.name for output in self.graph.output}:
                yield self._axis("Squeeze", pending.pop(made), made)
        for name, wide in pending.items():
            yield self._axis("Squeeze", wide, name)

    def _convolution(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        x, w = node.input[:2]
        if x not in self.wide:
            self.wide[x] = f"{x}/row"
            yield self._axis("Unsqueeze", x, self.wide[x])
        behind = self.dequantizers.get(w)
        stored = self._stored(behind.input[0] if behind else w)
        if behind is not None and f"{w}/row" not in self.wide:
            self.wide[f"{w}/row"] = f"{w}/row"
            yield _with(behind, {0: stored}, f"{w}/row")
        weights = f"{w}/row" if behind is not None else stored
        lifted = _with(node, {0: self.wide[x], 1: weights}, f"{node.output[0]}/row")
        for attribute in lifted.attribute:
            values = list(attribute.ints)
            if attribute.name in _ONES:
                attribute.ints[:] = [1, *values[-1:]]
            elif attribute.name == "pads":
                attribute.ints[:] = [0, values[0], 0, values[1]]
            elif attribute.name == "output_padding":
                attribute.ints[:] = [0, *values]
        self.wide[node.output[0]] = lifted.output[0]
        yield lifted

    def _stored(self, name: str) -> str:
        """The constant with one more axis: the same elements in the same order."""
        made = f"{name}/row"
        if made not in {tensor.name for tensor in self.graph.initializer}:
            tensor = onnx.TensorProto.FromString(self.constants[name].SerializeToString())
            tensor.name = made
            tensor.dims[:] = [*tensor.dims[:AXIS], 1, *tensor.dims[AXIS:]]
            self.graph.initializer.append(tensor)
        return made

    def _axis(self, operator: str, given: str, made: str) -> onnx.NodeProto:
        name = f"{made}/{operator.lower()}"
        if self.version >= 13:
            return helper.make_node(operator, [given, "fpc/second_axis"], [made], name)
        return helper.make_node(operator, [given], [made], name, axes=[AXIS])


def _with(node: onnx.NodeProto, inputs: Mapping[int, str], output: str) -> onnx.NodeProto:
    """A copy with other names."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for position, name in inputs.items():
        copy.input[position] = name
    copy.output[0] = output
    return copy
