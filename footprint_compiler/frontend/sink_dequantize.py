"""Move DequantizeLinear behind operators that only pick elements, so that these work on codes.

    pick(dequantize(q)) = dequantize(pick(q))

Exact for one scale, because every element is converted alike. Nearest resize, gather, tile, split
and their like have no operator in Relax through which the integer lowering would see; maximum and
minimum of several elements are the same on codes, as scales are positive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from footprint_compiler.frontend.quantized_io import graph_constants


def _always(node: onnx.NodeProto) -> bool:
    return True


def _is_nearest(node: onnx.NodeProto) -> bool:
    attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    mode = attrs.get("mode", b"nearest")
    transform = attrs.get("coordinate_transformation_mode", b"half_pixel")
    return bool(mode == b"nearest" and transform != b"tf_crop_and_resize")


def _has_ceil(node: onnx.NodeProto) -> bool:
    return any(a.name == "ceil_mode" and a.i for a in node.attribute) and len(node.output) == 1


PICKS: Mapping[str, Callable[[onnx.NodeProto], bool]] = {
    "DepthToSpace": _always,
    "Expand": _always,
    "Gather": _always,
    "GatherElements": _always,
    "MaxPool": _has_ceil,  # other windows have an operator in Relax
    "ReduceMax": _always,
    "ReduceMin": _always,
    "Resize": _is_nearest,
    "SpaceToDepth": _always,
    "Split": _always,
    "Tile": _always,
    "Upsample": _is_nearest,
}


def sink_dequantize(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with DequantizeLinear as late as such operators allow; itself if unchanged."""
    constants = graph_constants(model.graph)
    if not any(node.op_type in PICKS for node in model.graph.node):
        return model
    sunk = onnx.ModelProto()
    sunk.CopyFrom(model)
    graph, nodes = sunk.graph, list[onnx.NodeProto]()
    dequantizers: dict[str, onnx.NodeProto] = {}
    for node in graph.node:
        source = dequantizers.get(node.input[0]) if node.input else None
        picks = PICKS.get(node.op_type)
        if source is not None and not node.domain and picks is not None and picks(node):
            made = _behind(node, source)
            nodes.extend(made)
            dequantizers |= {one.output[0]: one for one in made[1:]}
            continue
        nodes.append(node)
        if node.op_type == "DequantizeLinear" and _is_plain(node, constants):
            dequantizers[node.output[0]] = node
    del graph.node[:]
    graph.node.extend(nodes)
    return sunk


def _behind(node: onnx.NodeProto, source: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The node on codes, and a DequantizeLinear for each of its results."""
    moved = onnx.NodeProto()
    moved.CopyFrom(node)
    moved.input[0] = source.input[0]
    made = [moved]
    for position, output in enumerate(node.output):
        if not output:
            continue
        moved.output[position] = f"{output}/codes"
        after = onnx.NodeProto()
        after.CopyFrom(source)
        after.name = f"{node.name or node.output[0]}/dequantize_{position}"
        after.input[0], after.output[0] = moved.output[position], output
        made.append(after)
    return made


def _is_plain(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> bool:
    """One positive scale and one zero point, both known; a run-time tensor of 8 or 16 bits."""
    names = [name for name in node.input[1:] if name]
    if node.domain or node.input[0] in constants or any(name not in constants for name in names):
        return False
    arrays = [numpy_helper.to_array(constants[name]) for name in names]
    if any(array.size != 1 for array in arrays):
        return False
    if len(arrays) > 1 and str(arrays[1].dtype) not in ("int8", "uint8", "int16", "uint16"):
        return False
    scale = np.asarray(arrays[0], np.float64)
    return bool(np.all(np.isfinite(scale)) and np.all(scale > 0))
