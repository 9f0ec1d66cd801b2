"""Even out channels across two linear operators, which one activation scale then serves better.

Cross-layer equalization (Nagel et al., "Data-Free Quantization Through Weight Equalization and
Bias Correction", 2019): for any positive s per channel, and f positively homogeneous (Relu, none),

    W2 f(W1 x + b1)  =  (W2 s) f((W1 / s) x + b1 / s)

Here s balances the range of the activation against that of W2, since W1 has a scale for each output
channel anyhow; a depthwise W2 has too, so its s makes all channels of the activation equally wide.

High-bias absorption: where Relu never clips a channel, whose least output is c > 0,

    W2 relu(y) + b2  =  W2 relu(y - c) + (b2 + W2 c)              for y >= c

This holds for the samples that were seen, and only without zero padding before W2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from footprint_compiler.calibration.statistics import TensorStatistics
from footprint_compiler.quantize.edit import (
    add_constant,
    attribute,
    constant_of,
    integers,
    name_of,
    sole_consumer,
)

SMALLEST = 1 / 8
"""Of the factors of one tensor, relative to the largest."""
DEAD = 1e-4
"""Relative range below which a channel counts as unused."""


@dataclass(frozen=True)
class Pair:
    """Two convolutions with at most a Relu between."""

    first: ir.Node
    second: ir.Node
    activation: str
    depthwise: bool
    clips: bool


def equalize(model: ir.Model, statistics: Mapping[str, TensorStatistics]) -> tuple[ir.Model, int]:
    """A copy with balanced channels, and how many tensors were balanced.

    Args:
        statistics: of the model as it is; they do not hold for the copy.
    """
    copy = ir.serde.deserialize_model(ir.serde.serialize_model(model))
    count = 0
    for pair in pairs(copy.graph):
        seen = statistics.get(pair.activation)
        if seen is None:
            continue
        wide = np.maximum(np.abs(seen.channel_low), np.abs(seen.channel_high)).astype(np.float64)
        kernel = constant_of(pair.second.inputs[1])
        if kernel is None or wide.max() <= 0:
            continue
        _scale(copy.graph, pair, _factors(wide, None if pair.depthwise else kernel))
        count += 1
    return copy, count


def absorb(model: ir.Model, statistics: Mapping[str, TensorStatistics]) -> tuple[ir.Model, int]:
    """A copy with high biases moved behind the Relu, and how many tensors that changed."""
    copy = ir.serde.deserialize_model(ir.serde.serialize_model(model))
    count = 0
    for pair in pairs(copy.graph):
        seen = statistics.get(pair.activation)
        padded = any(integers(pair.second, "pads")) or pair.second.attributes.get_string(
            "auto_pad", "NOTSET"
        ) not in ("NOTSET", "VALID")
        if seen is None or padded or not pair.clips:
            continue
        least = np.maximum(seen.channel_low, 0).astype(np.float64)
        if not least.any():
            continue
        weights, bias = (constant_of(v) for v in pair.second.inputs[1:3])
        before = constant_of(pair.first.inputs[2])
        if weights is None or bias is None or before is None:
            continue
        sums = weights.astype(np.float64).sum(axis=(2, 3))
        moved = sums[:, 0] * least if pair.depthwise else sums @ least
        _replace(copy.graph, pair.first, 2, before - least)
        _replace(copy.graph, pair.second, 2, bias + moved)
        count += 1
    return copy, count


def _factors(wide: np.ndarray, kernel: np.ndarray | None) -> np.ndarray:
    """Divisor of each channel, the largest 1; channels that carry nothing keep theirs.

    Args:
        wide: largest absolute activation of each channel.
        kernel: weights of the operator behind, (out, in, h, w); None where it is depthwise.
    """
    factors = np.sqrt(wide / wide.max())
    live = factors > DEAD
    if kernel is not None:
        used = np.abs(kernel).max(axis=(0, 2, 3)).astype(np.float64)
        live &= used > DEAD * max(used.max(), 1e-30)
        factors = np.where(live, factors / np.sqrt(np.maximum(used, 1e-30)), 0.0)
    if not live.any():
        return np.ones_like(factors)
    relative = np.clip(factors / factors[live].max(), SMALLEST, 1.0)
    return np.where(live, relative, 1.0)


def pairs(graph: ir.Graph) -> Iterator[Pair]:
    """Neighbours that may be balanced; both have a bias."""
    for first in graph:
        if not _is_plain_conv(first):
            continue
        value, after = first.outputs[0], sole_consumer(first.outputs[0])
        clips = after is not None and after.op_type == "Relu"
        if clips and after is not None:
            value = after.outputs[0]
            after = sole_consumer(value)
        if after is None or not _is_plain_conv(after) or after.inputs[0] is not value:
            continue
        kernel = constant_of(after.inputs[1])
        assert kernel is not None
        groups = attribute(after, "group", 1)
        if groups == 1:
            yield Pair(first, after, name_of(value), False, clips)
        elif kernel.shape[1] == 1 and kernel.shape[0] == groups:
            yield Pair(first, after, name_of(value), True, clips)


def _is_plain_conv(node: ir.Node) -> bool:
    kernel = constant_of(node.inputs[1]) if node.op_type == "Conv" else None
    if kernel is None or kernel.ndim != 4 or len(node.inputs) < 3:
        return False
    return constant_of(node.inputs[2]) is not None


def _scale(graph: ir.Graph, pair: Pair, factors: np.ndarray) -> None:
    weights, bias = (constant_of(v) for v in pair.first.inputs[1:3])
    kernel = constant_of(pair.second.inputs[1])
    assert weights is not None
    assert bias is not None
    assert kernel is not None
    outgoing = factors.reshape(-1, 1, 1, 1)
    _replace(graph, pair.first, 1, weights / outgoing)
    _replace(graph, pair.first, 2, bias / factors)
    incoming = outgoing if pair.depthwise else factors.reshape(1, -1, 1, 1)
    _replace(graph, pair.second, 1, kernel * incoming)


def _replace(graph: ir.Graph, node: ir.Node, position: int, array: np.ndarray) -> None:
    old = node.inputs[position]
    name = old.name if old is not None else node.name
    node.replace_input_with(
        position, add_constant(graph, f"{name}_balanced", array.astype(np.float32))
    )
