"""Forward analysis: which channels exist, which depend on no input, and what value those have.

For every tensor with a channel axis this finds ``Channels`` (atoms and known flags) and, where
a channel is known, its elements exactly as ONNX Runtime computes them from the graph as written:
bias, activation, quantize and the borders of padding included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper

from footprint_compiler.shrink.atoms import PINNED, AtomTable, Channels
from footprint_compiler.shrink.bounds import Bounds
from footprint_compiler.shrink.evaluate import evaluate_node
from footprint_compiler.shrink.network import Network, captured


class NotFollowedError(Exception):
    """A rule does not follow channels through this node; what it reads is kept whole."""


@dataclass(frozen=True)
class Cut:
    """Where atoms appear in a constant operand, or in the target of a reshape.

    Attributes:
        name: constant tensor.
        axis: its axis that holds the atoms.
        atoms: one atom per index of that axis.
    """

    name: str
    axis: int
    atoms: np.ndarray


@dataclass(frozen=True)
class Layer:
    """A node with filters: a convolution or a matrix product with constant weights.

    Attributes:
        node: Conv, Gemm or MatMul.
        source: channels of its data input; None where they are not followed.
        result: channels of its output.
        in_axis, out_axis: axes of the weights.
        depthwise: one input channel for each output channel, so that nothing is summed.
    """

    node: onnx.NodeProto
    source: Channels | None
    result: Channels
    in_axis: int
    out_axis: int
    depthwise: bool = False


Rule = Callable[["Analysis", onnx.NodeProto, Mapping[str, Any]], Channels]
Limit = Callable[["Analysis", onnx.NodeProto, Mapping[str, Any]], Bounds | None]
SATURATING = ("Relu", "Clip", "QuantizeLinear")


@dataclass
class Analysis:
    """What is known of a network; filled by ``run``.

    Attributes:
        channels: tensor name -> its channels.
        values: tensor name -> array; constants, and tensors with known channels, whose other
            elements mean nothing.
        bounds: tensor name -> least and greatest value of every channel, or of all of them.
        layers, cuts, reshapes: what removal has to edit.
    """

    network: Network
    atoms: AtomTable = field(default_factory=AtomTable)
    channels: dict[str, Channels] = field(default_factory=dict)
    values: dict[str, np.ndarray] = field(default_factory=dict)
    bounds: dict[str, Bounds] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    reshapes: list[tuple[onnx.NodeProto, Channels]] = field(default_factory=list)

    def run(self, rules: Mapping[str, Rule], limits: Mapping[str, Limit]) -> Analysis:
        """Follow channels and bounds through all nodes, in order; rules by operator name."""
        self.values.update(self.network.weights)
        for node in self.network.constant_nodes:
            value = self._evaluate(node)
            if value is not None:
                self.values[node.output[0]] = value
        for node in self.network.nodes:
            standard = node.domain in ("", "ai.onnx") and sum(map(bool, node.output)) == 1
            rule = rules.get(node.op_type) if standard else None
            limit = limits.get(node.op_type) if standard else None
            self._visit(node, rule, limit)
        for output in self.network.model.graph.output:
            self.keep(output.name)
        return self

    def keep(self, name: str) -> None:
        """Pin every channel of a tensor."""
        if name in self.channels:
            self.atoms.pin(self.channels[name].atoms)

    def shape(self, name: str) -> tuple[int, ...]:
        """Static shape of a tensor.

        Raises:
            NotFollowedError: it is not known.
        """
        if name not in self.network.shapes:
            raise NotFollowedError
        return self.network.shapes[name]

    def constant(self, name: str) -> np.ndarray:
        """Value of a constant operand.

        Raises:
            NotFollowedError: it is computed at run time.
        """
        if not self.network.is_constant(name) or name not in self.values:
            raise NotFollowedError
        return self.values[name]

    def source(self, name: str) -> Channels:
        """Channels of a tensor that a rule follows.

        Raises:
            NotFollowedError: it has none.
        """
        if name not in self.channels:
            raise NotFollowedError
        return self.channels[name]

    def cut(self, name: str, axis: int, atoms: np.ndarray) -> None:
        """Note the ``axis`` of a constant where ``atoms`` lie; they stay if it cannot be cut."""
        self.cuts.append(Cut(name, axis, atoms))
        if not can_cut(self.network, name, axis):
            self.atoms.pin(atoms)

    def _visit(self, node: onnx.NodeProto, rule: Rule | None, limit: Limit | None) -> None:
        attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        found = self._follow(node, rule, attrs)
        if found is not None:
            self.channels[node.output[0]] = found
        try:
            edges = limit(self, node, attrs) if limit is not None else None
        except NotFollowedError:
            edges = None
        if edges is not None:
            self.bounds[node.output[0]] = edges
        if found is None:
            return
        known = found.known
        if edges is not None and node.op_type in SATURATING:
            known = known | (edges[0] == edges[1])
        if known.any():
            value = self._evaluate(node, self._filled(node.input[0], known))
            if value is None:
                known = np.zeros_like(known)
            else:
                self.values[node.output[0]] = value
        self.channels[node.output[0]] = Channels(found.axis, found.atoms, known)

    def _follow(
        self, node: onnx.NodeProto, rule: Rule | None, attrs: Mapping[str, Any]
    ) -> Channels | None:
        marks = len(self.cuts), len(self.layers), len(self.reshapes)
        try:
            if rule is None:
                raise NotFollowedError
            return rule(self, node, attrs)
        except NotFollowedError:
            for name in (*node.input, *captured(node)):
                self.keep(name)
            del self.cuts[marks[0] :], self.layers[marks[1] :], self.reshapes[marks[2] :]
            return None

    def _filled(self, name: str, known: np.ndarray) -> np.ndarray | None:
        """An operand with one of its possible values in the channels that become known."""
        own, edges = self.channels.get(name), self.bounds.get(name)
        if own is None or edges is None or len(own.known) != len(known):
            return None
        shape = self.network.shapes[name]
        value = self.values.get(name, np.zeros(shape, self.network.dtypes[name])).copy()
        column = [-1 if axis == own.axis else 1 for axis in range(len(shape))]
        fresh = (known & ~own.known).reshape(column)
        return np.where(fresh, edges[0].reshape(column), value).astype(value.dtype)

    def _evaluate(self, node: onnx.NodeProto, first: np.ndarray | None = None) -> np.ndarray | None:
        """The node's output with zeros for everything that is not known.

        Args:
            node: to compute.
            first: instead of the node's first operand.
        """
        inputs: list[np.ndarray | None] = []
        for index, name in enumerate(node.input):
            if index == 0 and first is not None:
                inputs.append(first)
            elif not name or name in self.values:
                inputs.append(self.values.get(name))
            elif name in self.network.shapes:
                inputs.append(np.zeros(self.network.shapes[name], self.network.dtypes[name]))
            else:
                return None
        return evaluate_node(node, inputs, self.network.opsets)


def can_cut(network: Network, name: str, axis: int) -> bool:
    """Indices can be removed from a constant along ``axis``; see ``remove.cut_constant``."""
    if name in network.weights:
        return True
    node = network.producer[name]
    if node.op_type in ("DequantizeLinear", "Identity", "Transpose"):
        blocks = any(a.name == "block_size" and a.i for a in node.attribute)
        owned = all(not i or i in network.weights for i in node.input[1:])
        inner = _input_axis(network, node, axis)
        return owned and not blocks and can_cut(network, node.input[0], inner)
    if node.op_type == "Reshape":
        along = line(network.shapes.get(node.input[0], ()))
        if along is None or line(network.shapes.get(name, ())) != axis:
            return False
        return node.input[1] in network.weights and can_cut(network, node.input[0], along)
    return False


def line(shape: tuple[int, ...]) -> int | None:
    """The only axis that is longer than one; None when there is no such axis or are several."""
    long = [axis for axis, size in enumerate(shape) if size != 1]
    return long[0] if len(long) == 1 else None


def _input_axis(network: Network, node: onnx.NodeProto, axis: int) -> int:
    return (
        axis
        if node.op_type != "Transpose"
        else permutation(node, len(network.shapes[node.output[0]]))[axis]
    )


def permutation(node: onnx.NodeProto, rank: int) -> tuple[int, ...]:
    """``perm`` of a Transpose; reversed axes by default."""
    found = [tuple(a.ints) for a in node.attribute if a.name == "perm"]
    return found[0] if found else tuple(reversed(range(rank)))


def pinned(axis: int, size: int, known: bool) -> Channels:
    """Channels that are never removed."""
    return Channels(axis, np.full(size, PINNED, np.int64), np.full(size, known))
