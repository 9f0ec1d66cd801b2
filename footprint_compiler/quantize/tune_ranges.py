"""Choose the range of each activation by what it does to the outputs of the whole model.

An observer looks at one tensor alone. Here, one tensor after the other, the ends of its range move
while the loss over the calibration samples falls, and not by the luck of one sample. One session of
ONNX Runtime serves all trials: scales and zero points are inputs of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import onnx

from footprint_compiler.calibration.observers import OBSERVERS, Range
from footprint_compiler.calibration.statistics import Runner
from footprint_compiler.progress import Reporter
from footprint_compiler.quantize.affine import Affine, affine
from footprint_compiler.quantize.edit import constant_of, shape_of
from footprint_compiler.quantize.loss import is_better, losses
from footprint_compiler.quantize.workbench import Recipe, Workbench, compared
from footprint_compiler.samples import Sample

MAX_SAMPLES = 96
SWEEPS = 2
MAX_WORK = 2e11
"""Multiply-accumulates that all trials together may take: some ten seconds."""
NODE_WORK = 3e5
"""What a node costs beyond its arithmetic, in multiply-accumulates."""
CERTAINTY = 0.5
"""Standard errors by which the loss has to fall."""
_FRACTIONS = (0.6, 0.75, 0.85, 0.92, 1.08)


def tune_ranges(bench: Workbench, recipe: Recipe, reporter: Reporter) -> Recipe:
    """The recipe with ranges of 8-bit tensors that lower the loss on the calibration samples."""
    scheme = bench.scheme(recipe)
    samples = bench.calibration[:MAX_SAMPLES]
    left = int(MAX_WORK / (_work(bench) * len(samples)))
    activations = bench.activations(scheme, recipe)
    probe = _Probe(bench.assemble(recipe), activations, samples)
    expected = bench.outputs(bench.proto, samples)
    members: dict[str, list[str]] = {}
    for name, group in scheme.tensors.items():
        members.setdefault(group, []).append(name)
    groups = [group for group in members if activations[group].bits == 8]
    ranges = {group: code_range(activations[group]) for group in groups}
    best = losses(expected, probe.run(activations), bench.squashed)
    for sweep in range(SWEEPS):
        for done, group in enumerate(groups):
            tried = {activations[group]}
            for span in _candidates(bench, group, ranges[group]):
                trial = affine(*span)
                if trial in tried or left <= 0:
                    continue
                tried.add(trial)
                left -= 1
                changed = activations | dict.fromkeys(members[group], trial)
                found = losses(expected, probe.run(changed), bench.squashed)
                if is_better(found, best, CERTAINTY):
                    best, activations, ranges[group] = found, changed, span
            reporter.progress(sweep * len(groups) + done + 1, SWEEPS * len(groups))
    return replace(recipe, ranges=ranges)


def code_range(parameters: Affine) -> Range:
    """The real numbers of the least and the largest code."""
    low, high = (code - parameters.zero_point for code in (-128, 127))
    return low * parameters.scale, high * parameters.scale


def _candidates(bench: Workbench, group: str, span: Range) -> Iterator[Range]:
    low, high = span
    for observer in OBSERVERS:
        yield bench.ranges(observer)[group]
    for fraction in _FRACTIONS:
        yield low * fraction, high * fraction
        if low < 0 < high:
            yield low * fraction, high
            yield low, high * fraction


def _work(bench: Workbench) -> float:
    """Of one run, in multiply-accumulates."""
    total = NODE_WORK * len(bench.model.graph)
    for node in bench.model.graph:
        weights = constant_of(node.inputs[1]) if len(node.inputs) > 1 else None
        shape = shape_of(node.outputs[0])
        if weights is None or shape is None or node.op_type not in ("Conv", "Gemm", "MatMul"):
            continue
        per_output = weights[0].size if node.op_type == "Conv" else weights.shape[0]
        total += float(np.prod(shape)) * per_output
    return total


class _Probe:
    """A quantized model whose scales and zero points are given with every run."""

    def __init__(
        self, model: onnx.ModelProto, activations: dict[str, Affine], samples: Sequence[Sample]
    ) -> None:
        nodes = {node.name: node for node in model.graph.node}
        self._names = {t: nodes[f"{t}_quantize"].input[1:3] for t in activations}
        given = {name for pair in self._names.values() for name in pair}
        kinds = {t.name: t.data_type for t in model.graph.initializer if t.name in given}
        for name, kind in kinds.items():
            model.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, []))
        kept = [t for t in model.graph.initializer if t.name not in given]
        copies = [onnx.TensorProto.FromString(t.SerializeToString()) for t in kept]
        del model.graph.initializer[:]
        model.graph.initializer.extend(copies)
        self._outputs = compared(model)
        self._runner = Runner(model, self._outputs)
        self._inputs = given & set(self._runner.inputs)
        self._samples = samples

    def run(self, activations: dict[str, Affine]) -> list[np.ndarray]:
        """The compared outputs, float64, samples along the first axis."""
        feeds: dict[str, np.ndarray] = {}
        for tensor, parameters in activations.items():
            scale, zero = self._names[tensor]
            feeds[scale] = np.array(parameters.scale, np.float32)
            feeds[zero] = np.array(parameters.zero_point, parameters.dtype)
        feeds = {name: array for name, array in feeds.items() if name in self._inputs}
        rows = [self._runner.run({**sample, **feeds}) for sample in self._samples]
        return [np.stack([r[n] for r in rows]).astype(np.float64) for n in self._outputs]
