"""Channels of operators with filters: convolutions and matrix products with constant weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from footprint_compiler.shrink.analysis import Analysis, Layer, NotFollowedError
from footprint_compiler.shrink.atoms import Channels


def follow_conv(analysis: Analysis, node: onnx.NodeProto, attrs: Mapping[str, Any]) -> Channels:
    """A convolution starts new channels; a depthwise one hands on those that it reads."""
    groups, inputs = int(attrs.get("group", 1)), analysis.shape(node.input[0])[1]
    if groups == 1:
        return _follow_sum(analysis, node, source_axis=1, in_axis=1, out_axis=0, result_axis=1)
    if groups != inputs:
        raise NotFollowedError
    return _follow_depthwise(analysis, node)


def follow_gemm(analysis: Analysis, node: onnx.NodeProto, attrs: Mapping[str, Any]) -> Channels:
    """``alpha x w + beta c``; the columns (or rows, with ``transB``) of w are filters."""
    if attrs.get("transA", 0):
        raise NotFollowedError
    in_axis = 1 if attrs.get("transB", 0) else 0
    return _follow_sum(
        analysis, node, source_axis=1, in_axis=in_axis, out_axis=1 - in_axis, result_axis=1
    )


def follow_matmul(analysis: Analysis, node: onnx.NodeProto, attrs: Mapping[str, Any]) -> Channels:
    """``x w`` with a constant matrix w."""
    last = len(analysis.shape(node.input[0])) - 1
    return _follow_sum(analysis, node, source_axis=last, in_axis=0, out_axis=1, result_axis=last)


def _follow_sum(
    analysis: Analysis,
    node: onnx.NodeProto,
    source_axis: int,
    in_axis: int,
    out_axis: int,
    result_axis: int,
) -> Channels:
    weights = analysis.constant(node.input[1])
    matrix = node.op_type != "Conv"
    if (matrix and weights.ndim != 2) or not np.isfinite(weights).all():
        raise NotFollowedError
    source = analysis.channels.get(node.input[0])
    if source is not None and source.axis != source_axis:
        analysis.keep(node.input[0])
        source = None
    unknown = np.ones(weights.shape[in_axis], bool) if source is None else ~source.known
    used = np.moveaxis(weights != 0, (out_axis, in_axis), (0, 1))
    used = used.reshape(*used.shape[:2], -1).any(axis=2)
    known = ~(used & unknown).any(axis=1)
    atoms = analysis.atoms.fresh(len(known))
    result = Channels(result_axis, atoms, known & _bias(analysis, node, atoms))
    analysis.cut(node.input[1], out_axis, atoms)
    if source is not None:
        analysis.cut(node.input[1], in_axis, source.atoms)
    analysis.layers.append(Layer(node, source, result, in_axis, out_axis))
    return result


def _follow_depthwise(analysis: Analysis, node: onnx.NodeProto) -> Channels:
    source, weights = analysis.source(node.input[0]), analysis.constant(node.input[1])
    if source.axis != 1 or not np.isfinite(weights).all():
        raise NotFollowedError
    multiplier = weights.shape[0] // len(source.atoms)
    atoms = np.repeat(source.atoms, multiplier)
    silent = ~(weights != 0).reshape(len(weights), -1).any(axis=1)
    known = np.repeat(source.known, multiplier) | silent
    result = Channels(1, atoms, known & _bias(analysis, node, atoms))
    analysis.cut(node.input[1], 0, atoms)
    analysis.layers.append(Layer(node, source, result, 1, 0, depthwise=True))
    return result


def _bias(analysis: Analysis, node: onnx.NodeProto, atoms: np.ndarray) -> bool:
    """Note the bias, if there is any; False when it is computed at run time."""
    if len(node.input) < 3 or not node.input[2]:
        return True
    name = node.input[2]
    if not analysis.network.is_constant(name):
        analysis.atoms.pin(atoms)
        analysis.keep(name)
        return False
    shape = analysis.shape(name)
    if shape and shape[-1] == len(atoms):
        analysis.cut(name, len(shape) - 1, atoms)
    return True
