"""Cut chosen channels out of a network: weights, biases, scales, groups and reshape targets."""

from __future__ import annotations

import numpy as np
import onnx

from footprint_compiler.shrink.analysis import Analysis, line, permutation
from footprint_compiler.shrink.choose import Choice
from footprint_compiler.shrink.network import Network


def remove_channels(analysis: Analysis, choice: Choice) -> onnx.ModelProto:
    """The model without the chosen atoms. The network of the analysis is used up."""
    network = analysis.network
    network.weights.update(choice.biases)
    for cut in analysis.cuts:
        cut_constant(network, cut.name, cut.axis, _stays(analysis, cut.atoms, choice))
    for layer in analysis.layers:
        if layer.depthwise and layer.source is not None:
            groups = int(_stays(analysis, layer.source.atoms, choice).sum())
            _set_group(layer.node, groups)
    for node, channels in analysis.reshapes:
        stays = _stays(analysis, channels.atoms, choice)
        if not stays.all():
            shape = list(network.shapes[node.output[0]])
            shape[channels.axis] = int(stays.sum())
            network.weights[node.input[1]] = np.asarray(shape, np.int64)
    return network.finish()


def cut_constant(network: Network, name: str, axis: int, stays: np.ndarray) -> None:
    """Keep the indices of a constant along ``axis`` where ``stays``, at its initializers."""
    if stays.all():
        return
    if name in network.weights:
        network.weights[name] = np.compress(stays, network.weights[name], axis)
        return
    node = network.producer[name]
    rank = len(network.shapes[name])
    if node.op_type == "Transpose":
        cut_constant(network, node.input[0], permutation(node, rank)[axis], stays)
    elif node.op_type == "Reshape":
        cut_constant(network, node.input[0], line(network.shapes[node.input[0]]) or 0, stays)
        shape = list(network.shapes[name])
        shape[axis] = int(stays.sum())
        network.weights[node.input[1]] = np.asarray(shape, np.int64)
    else:
        cut_constant(network, node.input[0], axis, stays)
        if node.op_type == "DequantizeLinear":
            _cut_scales(network, node, axis, rank, stays)


def _cut_scales(
    network: Network, node: onnx.NodeProto, axis: int, rank: int, stays: np.ndarray
) -> None:
    along = next((a.i for a in node.attribute if a.name == "axis"), 1) % max(rank, 1)
    for name in node.input[1:]:
        if name and along == axis and network.weights[name].size == len(stays):
            network.weights[name] = np.compress(stays, network.weights[name], 0)


def _stays(analysis: Analysis, atoms: np.ndarray, choice: Choice) -> np.ndarray:
    roots = analysis.atoms.roots(atoms)
    return np.asarray([int(r) not in choice.removed for r in roots], dtype=bool)


def _set_group(node: onnx.NodeProto, groups: int) -> None:
    for attribute in node.attribute:
        if attribute.name == "group":
            attribute.i = groups
