"""Channels of operators that work on every channel alone, or on two tensors channel by channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from footprint_compiler.shrink.analysis import Analysis, NotFollowedError, pinned
from footprint_compiler.shrink.atoms import Channels


def follow_unary(analysis: Analysis, node: onnx.NodeProto, attrs: Mapping[str, Any]) -> Channels:
    """One output element for one input element; further inputs are constant scalars (Clip)."""
    for name in node.input[1:]:
        if name and analysis.constant(name).size != 1:
            raise NotFollowedError
    return analysis.source(node.input[0])


def follow_quantize(analysis: Analysis, node: onnx.NodeProto, attrs: Mapping[str, Any]) -> Channels:
    """QuantizeLinear and DequantizeLinear of activations, per tensor or per channel."""
    source = analysis.source(node.input[0])
    axis = int(attrs.get("axis", 1)) % len(analysis.shape(node.input[0]))
    for name in node.input[1:]:
        if not name or analysis.constant(name).size == 1:
            continue
        if attrs.get("block_size", 0) or axis != source.axis:
            raise NotFollowedError
        analysis.cut(name, 0, source.atoms)
    return source


def follow_binary(analysis: Analysis, node: onnx.NodeProto, attrs: Mapping[str, Any]) -> Channels:
    """Elementwise with broadcasting: live in either operand is live in the result."""
    rank = len(analysis.shape(node.output[0]))
    names = list(node.input)
    labelled = [name for name in names if name in analysis.channels]
    if len(names) != 2 or not labelled:
        raise NotFollowedError
    source = analysis.channels[labelled[0]]
    axis = source.axis + rank - len(analysis.shape(labelled[0]))
    size = len(source.atoms)
    if analysis.shape(node.output[0])[axis] != size:
        raise NotFollowedError
    known = source.known.copy()
    zero = _zeros(analysis, labelled[0], source)
    for name in names:
        if name != labelled[0]:
            other_known, other_zero = _partner(analysis, name, axis - rank, source.atoms)
            known, zero = known & other_known, zero | other_zero
    if node.op_type == "Mul":  # zero times anything finite is zero
        known |= zero
    return Channels(axis, source.atoms, known)


def _zeros(analysis: Analysis, name: str, channels: Channels) -> np.ndarray:
    """Flags of the channels that are known to be zero everywhere."""
    if not channels.known.any():
        return np.zeros_like(channels.known)
    rows = np.moveaxis(analysis.values[name], channels.axis, 0).reshape(len(channels.known), -1)
    zero: np.ndarray = channels.known & ~(rows != 0).any(axis=1)
    return zero


def _partner(
    analysis: Analysis, name: str, axis: int, atoms: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Join the other operand, whose channels are on ``axis`` (negative).

    Returns:
        flags of its channels: known, and known to be zero.
    """
    shape, size = analysis.shape(name), len(atoms)
    nothing = np.zeros(size, bool)
    along = shape[axis] if len(shape) >= -axis else 1
    if analysis.network.is_constant(name):
        if along == size and size > 1:
            analysis.cut(name, len(shape) + axis, atoms)
        return np.full(size, name in analysis.values), nothing
    other = analysis.channels.get(name)
    if other is None or other.axis != len(shape) + axis or along != size:
        analysis.keep(name)
        if along == size and size > 1:
            analysis.atoms.pin(atoms)
        return nothing, nothing
    analysis.atoms.join(atoms, other.atoms)
    return other.known, _zeros(analysis, name, other)


def follow_norm(analysis: Analysis, node: onnx.NodeProto, attrs: Mapping[str, Any]) -> Channels:
    """BatchNormalization in inference: scale, bias, mean and variance per channel."""
    source = analysis.source(node.input[0])
    if attrs.get("training_mode", 0) or source.axis != 1:
        raise NotFollowedError
    for name in node.input[1:]:
        analysis.constant(name)
        analysis.cut(name, 0, source.atoms)
    return source


def follow_window(analysis: Analysis, node: onnx.NodeProto, attrs: Mapping[str, Any]) -> Channels:
    """Pools over the axes after the second."""
    source = analysis.source(node.input[0])
    if source.axis != 1:
        raise NotFollowedError
    return source


def follow_pad(analysis: Analysis, node: onnx.NodeProto, attrs: Mapping[str, Any]) -> Channels:
    """Padding by constant amounts along axes that hold no channels."""
    source, rank = analysis.source(node.input[0]), len(analysis.shape(node.input[0]))
    amounts = np.asarray(attrs.get("pads", []))
    if len(node.input) > 1:
        amounts = analysis.constant(node.input[1])
    axes = np.arange(rank)
    if len(node.input) > 3 and node.input[3]:
        axes = analysis.constant(node.input[3]).ravel() % rank
    if len(node.input) > 2 and node.input[2]:
        analysis.constant(node.input[2])
    if amounts.size != 2 * axes.size or amounts.reshape(2, -1)[:, axes == source.axis].any():
        raise NotFollowedError
    return source


def follow_reduce(analysis: Analysis, node: onnx.NodeProto, attrs: Mapping[str, Any]) -> Channels:
    """A reduction over axes that hold no channels."""
    source, rank = analysis.source(node.input[0]), len(analysis.shape(node.input[0]))
    axes = attrs.get("axes", [])
    if len(node.input) > 1 and node.input[1]:
        axes = analysis.constant(node.input[1]).ravel().tolist()
    reduced = {int(a) % rank for a in axes}
    if not reduced or source.axis in reduced:
        raise NotFollowedError
    before = 0 if attrs.get("keepdims", 1) else sum(a < source.axis for a in reduced)
    return Channels(source.axis - before, source.atoms, source.known)


def follow_concat(analysis: Analysis, node: onnx.NodeProto, attrs: Mapping[str, Any]) -> Channels:
    """Along the channel axis parts follow each other; along another they share their channels."""
    axis = int(attrs["axis"]) % len(analysis.shape(node.output[0]))
    found = [analysis.channels.get(name) for name in node.input]
    first = next((c for c in found if c is not None), None)
    if first is None or any(c is not None and c.axis != first.axis for c in found):
        raise NotFollowedError
    if axis != first.axis:
        if any(c is None for c in found):
            raise NotFollowedError
        known = first.known.copy()
        for channels in found:
            if channels is not None:
                analysis.atoms.join(first.atoms, channels.atoms)
                known &= channels.known
        return Channels(first.axis, first.atoms, known)
    parts = [
        channels or pinned(axis, analysis.shape(name)[axis], name in analysis.network.weights)
        for name, channels in zip(node.input, found, strict=True)
    ]
    atoms = np.concatenate([p.atoms for p in parts])
    return Channels(axis, atoms, np.concatenate([p.known for p in parts]))


def follow_transpose(
    analysis: Analysis, node: onnx.NodeProto, attrs: Mapping[str, Any]
) -> Channels:
    """The channel axis moves."""
    source = analysis.source(node.input[0])
    rank = len(analysis.shape(node.input[0]))
    order = list(attrs.get("perm", reversed(range(rank))))
    return Channels(order.index(source.axis), source.atoms, source.known)


def follow_view(analysis: Analysis, node: onnx.NodeProto, attrs: Mapping[str, Any]) -> Channels:
    """Reshape, Flatten, Squeeze, Unsqueeze: followed where one axis still tells the channel."""
    source = analysis.source(node.input[0])
    before, after = analysis.shape(node.input[0]), analysis.shape(node.output[0])
    if len(source.atoms) < 2:
        raise NotFollowedError
    column = [-1 if axis == source.axis else 1 for axis in range(len(before))]
    index = np.broadcast_to(np.arange(len(source.atoms)).reshape(column), before).reshape(after)
    for axis in range(len(after)):
        lead = tuple(slice(None) if a == axis else slice(0, 1) for a in range(len(after)))
        if (index == index[lead]).all():
            found = source.picked(index[lead].ravel(), axis)
            if node.op_type == "Reshape":
                if node.input[1] not in analysis.network.weights:
                    raise NotFollowedError
                analysis.reshapes.append((node, found))
            return found
    raise NotFollowedError
