"""Empirical bias correction: rounding weights and inputs shifts the mean of every channel.

Layer by layer, with everything before it quantized, the mean of each output channel over the
calibration samples is compared with that of the float model, and the difference is added to the
bias (Nagel et al., 2019, section 4.2, measured instead of derived).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir

from footprint_compiler.calibration.walk import Walk
from footprint_compiler.quantize.edit import constant_of, name_of
from footprint_compiler.quantize.insert import bias_of
from footprint_compiler.quantize.workbench import Recipe, Workbench

MAX_SAMPLES = 64


def correct_bias(bench: Workbench, recipe: Recipe) -> Recipe:
    """The recipe with corrections for every quantized linear node that has a bias."""
    nodes = {name_of(node): node for node in bench.model.graph}
    samples = bench.calibration[:MAX_SAMPLES]
    scheme = bench.scheme(recipe)
    steps = bench.weights(scheme, recipe, bench.activations(scheme, recipe))
    proto = bench.assemble(recipe)
    writers = {name: node for node in proto.graph.node for name in node.output}
    plain, quantized = Walk(bench.proto, samples), Walk(proto, samples)
    biases = dict(recipe.biases)
    for name in scheme.linear:
        reader, position = bias_of(nodes[name])
        given = reader.inputs[position] if position < len(reader.inputs) else None
        chosen = steps[name]
        offsets = constant_of(given)
        if offsets is None or chosen.bias is None:
            continue
        written = next(node for node in proto.graph.node if node.name == name_of(reader))
        axis = -1 if _rank_of(nodes[name]) < 4 else 1
        quantized.advance(_first_input(nodes[name], proto))
        wanted = _mean(plain.advance(name_of(reader.outputs[0])), axis)
        change = wanted - _mean(quantized.look(written.output[0]), axis)
        key = name, chosen.bits
        biases[key] = (change + recipe.biases.get(key, 0.0)).astype(np.float32)
        whole = (offsets + biases[key]).astype(np.float64)
        moved = np.rint(whole / chosen.bias_scale)
        quantized.replace(writers[written.input[position]].input[0], moved.astype(np.int32))
    return replace(recipe, biases=biases)


def _first_input(node: ir.Node, proto: onnx.ModelProto) -> str:
    """The activation that the linear node reads in the quantized model."""
    return next(str(n.input[0]) for n in proto.graph.node if n.name == name_of(node))


def _rank_of(node: ir.Node) -> int:
    weights = constant_of(node.inputs[1])
    return 0 if weights is None else weights.ndim


def _mean(arrays: list[np.ndarray], axis: int) -> np.ndarray:
    """Of each channel over all samples."""
    total = 0.0
    for array in arrays:
        moved = np.moveaxis(np.asarray(array, np.float64), axis, 0)
        total = total + moved.reshape(len(moved), -1).mean(axis=1)
    return np.asarray(total / len(arrays))
