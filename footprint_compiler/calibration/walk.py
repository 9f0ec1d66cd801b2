"""Run a model over samples in stretches, each node once, while its constants may still change.

A layer-by-layer method needs the input of every layer with all layers before it final. Starting
from the front for each would cost the square of the depth; a walk keeps the tensors that the rest
of the model still reads, and goes on from there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from footprint_compiler.calibration.statistics import Runner
from footprint_compiler.samples import Sample


class Walk:
    """Over a model without subgraphs that read outer tensors.

    Args:
        model: its nodes in order; it is not changed.
    """

    def __init__(self, model: onnx.ModelProto, samples: Sequence[Sample]) -> None:
        self._model = model
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._left = list(model.graph.node)
        self._have = [dict(sample) for sample in samples]

    def replace(self, name: str, array: np.ndarray) -> None:
        """Give a constant another value, for the nodes that have not run."""
        self._constants[name] = onnx.numpy_helper.from_array(array, name)

    def constant(self, name: str) -> np.ndarray:
        """The present value of a constant."""
        return np.asarray(onnx.numpy_helper.to_array(self._constants[name]))

    def look(self, name: str) -> list[np.ndarray]:
        """A tensor for every sample, without going on."""
        return [found[name] for found in self._run(self._needed(name), [name])]

    def advance(self, name: str) -> list[np.ndarray]:
        """Go on until a tensor is there; what it needs has run for good."""
        nodes = self._needed(name)
        ran = {id(node) for node in nodes}
        left = [node for node in self._left if id(node) not in ran]
        read = {x for node in left for x in node.input} | {name}
        made = [x for node in nodes for x in node.output if x in read]
        for have, found in zip(self._have, self._run(nodes, made), strict=True):
            have |= found
            for gone in [x for x in have if x not in read]:
                del have[gone]
        self._left = left
        return [have[name] for have in self._have]

    def _needed(self, name: str) -> list[onnx.NodeProto]:
        needed, nodes = {name} - set(self._have[0]), []
        for node in reversed(self._left):
            if needed.intersection(node.output):
                needed.update(x for x in node.input if x not in self._have[0])
                nodes.append(node)
        return nodes[::-1]

    def _run(
        self, nodes: list[onnx.NodeProto], names: Sequence[str]
    ) -> list[dict[str, np.ndarray]]:
        if not nodes:
            return [{name: have[name] for name in names} for have in self._have]
        read = {x for node in nodes for x in node.input}
        given = {k: v for k, v in self._have[0].items() if k in read}
        stretch = onnx.ModelProto()
        stretch.CopyFrom(self._model)
        del stretch.graph.node[:], stretch.graph.input[:], stretch.graph.output[:]
        del stretch.graph.initializer[:], stretch.graph.value_info[:]
        stretch.graph.node.extend(nodes)
        stretch.graph.initializer.extend(t for n, t in self._constants.items() if n in read)
        for name, array in given.items():
            kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
            value = onnx.helper.make_tensor_value_info(name, kind, array.shape)
            stretch.graph.input.append(value)
        runner = Runner(stretch, [name for name in names if name not in given])
        return [
            {n: have[n] for n in names if n in given} | runner.run({n: have[n] for n in given})
            for have in self._have
        ]
