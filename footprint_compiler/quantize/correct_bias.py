"""Empirical bias correction: rounding weights and inputs shifts the mean of every channel.

Layer by layer, with everything before it quantized, the mean of each output channel over the
calibration samples is compared with that of the float model, and the difference is added to the
bias (Nagel et al., 2019, section 4.2, measured instead of derived).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from footprint_compiler.calibration.statistics import Runner
from footprint_compiler.quantize.edit import constant_of, name_of
from footprint_compiler.quantize.insert import bias_of
from footprint_compiler.quantize.workbench import Recipe, Workbench

MAX_SAMPLES = 64


def correct_bias(bench: Workbench, recipe: Recipe) -> Recipe:
    """The recipe with corrections for every quantized linear node that has a bias."""
    nodes = {name_of(node): node for node in bench.model.graph}
    samples = bench.calibration[:MAX_SAMPLES]
    outputs = {}
    for name in bench.scheme(recipe).linear:
        reader, position = bias_of(nodes[name])
        given = reader.inputs[position] if position < len(reader.inputs) else None
        if constant_of(given) is not None:
            outputs[name] = name_of(reader.outputs[0])
    channel_axis = {name: -1 if _rank_of(nodes[name]) < 4 else 1 for name in outputs}
    wanted = _means(Runner(bench.proto, list(outputs.values())), samples, outputs, channel_axis)
    biases: dict[str, np.ndarray] = {}
    for name, tensor in outputs.items():
        candidate = bench.assemble(replace(recipe, biases=biases))
        got = _means(Runner(candidate, [tensor]), samples, {name: tensor}, channel_axis)
        biases[name] = (wanted[name] - got[name]).astype(np.float32)
    return replace(recipe, biases=biases)


def _rank_of(node: ir.Node) -> int:
    weights = constant_of(node.inputs[1])
    return 0 if weights is None else weights.ndim


def _means(
    runner: Runner,
    samples: list[dict[str, np.ndarray]],
    outputs: dict[str, str],
    channel_axis: dict[str, int],
) -> dict[str, np.ndarray]:
    """Mean of each channel, by node name."""
    sums: dict[str, np.ndarray] = {}
    for sample in samples:
        results = runner.run(sample)
        for name, tensor in outputs.items():
            array = np.moveaxis(np.asarray(results[tensor], np.float64), channel_axis[name], 0)
            sums[name] = sums.get(name, 0.0) + array.reshape(len(array), -1).mean(axis=1)
    return {name: total / len(samples) for name, total in sums.items()}
