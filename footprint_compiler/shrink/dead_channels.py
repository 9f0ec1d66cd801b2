"""Remove channels that cannot change an output, until nothing more can go.

A channel goes when everything that sums over it gets nothing from it: its weights there are
zero, or its elements are known at build time and are zero, or add the same integer to a quantized
layer's bias everywhere. Elements are known where no weight connects them to an input: behind a
filter of zeros they are what bias, activation and quantize make of it. They are known too where
all that a quantized input can hold saturates to one value. What remains is the same sum
with fewer terms that are zero, so results are equal wherever activations are finite; in float
the order of the remaining additions belongs to whoever runs them, and may move the last bit.
Channels of a model's outputs stay, and one channel of every tensor does.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from footprint_compiler.shrink.analysis import Analysis
from footprint_compiler.shrink.choose import choose_removals
from footprint_compiler.shrink.limit import LIMITS
from footprint_compiler.shrink.network import Network
from footprint_compiler.shrink.remove import remove_channels
from footprint_compiler.shrink.rules import RULES
from footprint_compiler.shrink.share import share_constants

MAX_ROUNDS = 32
QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
WEIGHTED = frozenset({"Conv", "Gemm", "MatMul"})
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shrinkage:
    """What was removed.

    Attributes:
        filters: filters removed, depthwise ones included.
        depthwise: how many of them are depthwise.
        layers: layers that lost a filter.
        macs_before, macs_after: of convolutions and matrix products.
        weight_bytes_before, weight_bytes_after: initializers, without scales and zero points.
    """

    filters: int = 0
    depthwise: int = 0
    layers: int = 0
    macs_before: int = 0
    macs_after: int = 0
    weight_bytes_before: int = 0
    weight_bytes_after: int = 0

    def __str__(self) -> str:
        return (
            f"removed {self.filters} dead channels ({self.depthwise} depthwise) "
            f"of {self.layers} layers: "
            f"{self.macs_before:,} -> {self.macs_after:,} MACs"
        )


def remove_dead_channels(model: onnx.ModelProto) -> tuple[onnx.ModelProto, Shrinkage]:
    """A smaller model with equal outputs; the model itself where nothing can go.

    Args:
        model: with static shapes; not changed. Where shapes are missing, channels are kept.
    """
    if not _may_shrink(model):
        return model, Shrinkage()
    current, before = model, 0
    lost: Counter[str] = Counter()
    depthwise = 0
    for turn in range(MAX_ROUNDS):
        try:
            analysis = Analysis(Network(current)).run(RULES, LIMITS)
        except Exception as error:  # a damaged model: conversion will say what is wrong
            _LOG.debug("dead channels are not searched: %s", error)
            break
        before = before if turn else count_macs(analysis.network)
        choice = choose_removals(analysis)
        if not choice.removed:
            break
        for layer in analysis.layers:
            roots = analysis.atoms.roots(layer.result.atoms).tolist()
            gone = sum(root in choice.removed for root in roots)
            lost[layer.node.output[0]] += gone
            depthwise += gone * layer.depthwise
        current = remove_channels(analysis, choice)
    if not lost.total():
        return model, Shrinkage()
    shared = share_constants(current)
    return shared, Shrinkage(
        lost.total(),
        depthwise,
        sum(count > 0 for count in lost.values()),
        before,
        count_macs(Network(shared)),
        weight_bytes(model),
        weight_bytes(shared),
    )


def count_macs(network: Network) -> int:
    """Multiply-accumulates of convolutions and matrix products, from static shapes."""
    total = 0
    for node in network.nodes:
        shapes = [network.shapes.get(name) for name in (*node.input[:2], *node.output[:1])]
        if node.op_type in WEIGHTED and len(shapes) == 3 and all(shapes):
            data, weights, result = (shape or () for shape in shapes)
            terms = weights[1:] if node.op_type == "Conv" else data[-1:]
            total += math.prod(result) * math.prod(terms)
    return total


def weight_bytes(model: onnx.ModelProto) -> int:
    """Bytes of all initializers but scales and zero points, which are compiled into the code."""
    nodes = [node for node in model.graph.node if node.op_type in QUANTIZERS]
    skipped = {name for node in nodes for name in node.input[1:]}
    total = 0
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.STRING and tensor.name not in skipped:
            dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
            total += math.prod(tensor.dims) * dtype.itemsize
    return total


def _may_shrink(model: onnx.ModelProto) -> bool:
    """It is quantized, or weights have a slice of equal values; cheap, and no for float models."""
    graph = model.graph
    if any(node.op_type in QUANTIZERS for node in graph.node):
        return True
    arrays = {t.name: t for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            arrays[node.output[0]] = node.attribute[0].t
    producer = {o: n for n in graph.node for o in n.output}
    for node in graph.node:
        if node.op_type not in WEIGHTED or len(node.input) < 2:
            continue
        name = node.input[1]
        for _ in graph.node:  # a damaged graph may go in circles
            if name in arrays or name not in producer or not producer[name].input:
                break
            name = producer[name].input[0]
        try:
            if name in arrays and _has_flat_slice(numpy_helper.to_array(arrays[name])):
                return True
        except (TypeError, ValueError):  # a damaged tensor, which conversion will name
            return False
    return False


def _has_flat_slice(weights: np.ndarray) -> bool:
    if weights.ndim < 2 or not weights.size:
        return False
    for axis in (0, 1):
        rows = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
        if (rows == rows[:, :1]).all(axis=1).any() and rows.shape[1] > 1:
            return True
    return False
