"""A prepared model with its calibration data: assemble quantized candidates and measure them.

Part of the samples calibrate; the others are held back, and a candidate is judged by them alone,
by its loss (see ``loss``). Shown is the signal to quantization noise ratio of the outputs against
the float model,

    SQNR = 10 log10( sum y^2 / sum (y - y')^2 )  dB,

taken before a final Softmax, whose saturation would hide most of the error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx_ir as ir

from footprint_compiler.calibration.lattice import lattice_range
from footprint_compiler.calibration.observers import OBSERVERS, Range
from footprint_compiler.calibration.statistics import Runner, TensorStatistics, collect
from footprint_compiler.errors import UnsupportedModelError
from footprint_compiler.quantize.affine import (
    Affine,
    Learned,
    Weights,
    affine,
    quantize_weights,
)
from footprint_compiler.quantize.edit import constant_of, name_of
from footprint_compiler.quantize.hidden import cut_saturation, raise_hidden_floors
from footprint_compiler.quantize.insert import bias_of, insert_qdq
from footprint_compiler.quantize.loss import losses
from footprint_compiler.quantize.operators import LINEAR, MOVES
from footprint_compiler.quantize.precision import FLOAT, Widths, weight_bits, widths
from footprint_compiler.quantize.scheme import Scheme, decide
from footprint_compiler.samples import Sample

HELD_BACK = 0.25
MOST_HELD_BACK = 64
_SOFTMAX = frozenset({"Softmax", "LogSoftmax"})
_CODES = frozenset({"QuantizeLinear", "DequantizeLinear"})


@dataclass(frozen=True)
class Recipe:
    """How a candidate is made.

    Attributes:
        observer: key of ``OBSERVERS``.
        floats: nodes that stay in float.
        only: when given, nothing but these linear nodes is quantized.
        precision: of the linear nodes, key of ``PRECISIONS``.
        layers: node name -> another precision than that; ``FLOAT`` counts as one of ``floats``.
        ranges: tensor -> range that replaces the observer's, for all that share its scale.
        biases: (node name, weight bits) -> what is added to its bias.
        codes: (node name, weight bits) -> weight codes that replace rounding to nearest.
    """

    observer: str = "min-max"
    floats: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    precision: str = "int8"
    layers: Mapping[str, str] = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)
    biases: Mapping[tuple[str, int], np.ndarray] = field(default_factory=dict)
    codes: Mapping[tuple[str, int], Learned] = field(default_factory=dict)

    def asked(self, layer: str) -> str:
        """The precision that is asked for a linear node."""
        return FLOAT if layer in self.floats else self.layers.get(layer, self.precision)

    @property
    def all_floats(self) -> frozenset[str]:
        """Every node that is asked to stay in float."""
        return self.floats | {name for name, one in self.layers.items() if one == FLOAT}


class Workbench:
    """One prepared float model and its samples.

    Args:
        model: as ``prepare`` gives it.
        samples: all calibration samples; ``HELD_BACK`` of them judge, from 8 on.
        refit: calibrate with those that judge too, once every choice has been made.
    """

    def __init__(self, model: ir.Model, samples: Sequence[Sample], refit: bool = False) -> None:
        self.model = model
        held = min(int(len(samples) * HELD_BACK), MOST_HELD_BACK) if len(samples) >= 8 else 0
        order = np.random.default_rng(0).permutation(len(samples))
        self.calibration = [
            samples[i] for i in (range(len(order)) if refit else sorted(order[held:]))
        ]
        self.held_back = [samples[i] for i in sorted(order[:held])] or list(self.calibration)
        self.samples = list(samples)
        self.proto = ir.serde.serialize_model(model)
        self.full = decide(model.graph)
        if not self.full.linear:
            raise UnsupportedModelError(
                "the model has no operator that can be quantized",
                "Convolutions and matrix products with constant weights can.",
            )
        self.statistics: dict[str, TensorStatistics] = collect(
            self.proto, self._tensors(), self.calibration
        )
        self._ranges: dict[str, dict[str, Range]] = {}
        self._lattices: dict[str, Range] = {}
        for value in model.graph.inputs:
            found = lattice_range([sample[name_of(value)] for sample in self.calibration])
            if found is not None:
                self._lattices[name_of(value)] = found
        self._expected = self.outputs(self.proto, self.held_back)
        self._expected_of_all = self.outputs(self.proto, self.samples)
        writers = {name: node for node in self.proto.graph.node for name in node.output}
        self.squashed = [_is_softmax(writers.get(o.name)) for o in self.proto.graph.output]

    def _tensors(self) -> list[str]:
        """Everything that any scheme quantizes."""
        found = dict.fromkeys([*self.full.tensors, *self.full.roots])
        for layer in self.full.linear:
            found |= dict.fromkeys(decide(self.model.graph, only={layer}).tensors)
        return list(found)

    def scheme(self, recipe: Recipe) -> Scheme:
        """What the recipe quantizes."""
        return decide(self.model.graph, recipe.all_floats, recipe.only)

    def widths(self, scheme: Scheme, recipe: Recipe) -> Widths:
        """How wide tensors and layers come out."""
        asked = {name: recipe.asked(name) for name in scheme.linear}
        return widths(self.model.graph, scheme, asked)

    def activations(self, scheme: Scheme, recipe: Recipe) -> dict[str, Affine]:
        """Parameters of every tensor; tensors that share a scale cover what made them.

        With 16 bits there is no need to clip: all that was seen is covered.
        """
        bits = self.widths(scheme, recipe).bits
        seen = cut_saturation(self.model.graph, self.ranges(recipe.observer))
        narrow = self._spans(scheme, seen)
        wide = self._spans(scheme, self.ranges("min-max")) if 16 in bits.values() else narrow
        found = {}
        for name, group in scheme.tensors.items():
            span = wide[group] if bits[name] == 16 else recipe.ranges.get(group, narrow[group])
            found[name] = affine(*span, bits[name])
        return found

    def ranges(self, observer: str) -> dict[str, Range]:
        """Range of every tensor as an observer sees it."""
        if observer not in self._ranges:
            observe = OBSERVERS[observer]
            seen = {n: observe(s) for n, s in self.statistics.items()} | self._lattices
            self._ranges[observer] = raise_hidden_floors(self.model.graph, seen)
        return self._ranges[observer]

    def _spans(self, scheme: Scheme, ranges: Mapping[str, Range]) -> dict[str, Range]:
        """Range of every group of tensors that share a scale."""
        moved = {
            name_of(v)
            for node in self.model.graph
            if node.op_type in MOVES and name_of(node) in scheme.integer
            for v in node.outputs
        }
        union: dict[str, Range] = {}
        for name, group in scheme.tensors.items():
            if name in moved and group != name:
                continue
            low, high = ranges[name]
            have = union.get(group, (low, high))
            union[group] = min(low, have[0]), max(high, have[1])
        return union

    def weights(
        self, scheme: Scheme, recipe: Recipe, activations: Mapping[str, Affine]
    ) -> dict[str, Weights]:
        """Integer weights and biases of every quantized linear node."""
        nodes = {name_of(node): node for node in self.model.graph}
        precisions = self.widths(scheme, recipe).layers
        found = {}
        for name in scheme.linear:
            bits = weight_bits(precisions[name])
            node = nodes[name]
            kernel = constant_of(node.inputs[1])
            source = node.inputs[0]
            assert kernel is not None
            assert source is not None
            reader, position = bias_of(node)
            given = reader.inputs[position] if position < len(reader.inputs) else None
            bias = constant_of(given)
            if bias is not None and (name, bits) in recipe.biases:
                bias = bias + recipe.biases[name, bits]
            axis = LINEAR[node.op_type]
            found[name] = quantize_weights(
                kernel,
                bias,
                activations[name_of(source)].scale,
                axis,
                recipe.codes.get((name, bits)),
                bits,
            )
        return found

    def assemble(self, recipe: Recipe) -> onnx.ModelProto:
        """The quantized model of a recipe."""
        scheme = self.scheme(recipe)
        activations = self.activations(scheme, recipe)
        weights = self.weights(scheme, recipe, activations)
        return ir.serde.serialize_model(insert_qdq(self.model, scheme, activations, weights))

    def sqnr(self, model: onnx.ModelProto) -> float:
        """Signal to quantization noise over the held-back samples, in dB."""
        return self.judge(model)[1]

    def judge(self, model: onnx.ModelProto) -> tuple[float, float]:
        """Loss and signal to quantization noise (dB) over the held-back samples."""
        found, level = self.losses(model)
        return float(found.mean()), level

    def losses(self, model: onnx.ModelProto, of_all: bool = False) -> tuple[np.ndarray, float]:
        """Loss of each held-back sample, and their signal to quantization noise (dB).

        Args:
            of_all: of all samples: less noise, for choices with too few options to overfit.
        """
        expected = self._expected_of_all if of_all else self._expected
        got = self.outputs(model, self.samples if of_all else self.held_back)
        return losses(expected, got, self.squashed), sqnr(expected, got)

    def outputs(self, model: onnx.ModelProto, samples: Sequence[Sample]) -> list[np.ndarray]:
        """What is compared, concatenated per output over the samples, float64."""
        names = compared(model)
        runner = Runner(model, names)
        results = [runner.run(sample) for sample in samples]
        return [np.stack([r[name] for r in results]).astype(np.float64) for name in names]


def compared(model: onnx.ModelProto) -> list[str]:
    """The outputs, or what a final Softmax is applied to."""
    writers = {name: node for node in model.graph.node for name in node.output}
    names = []
    for output in model.graph.output:
        node = writers.get(output.name)
        while node is not None and node.op_type in _CODES:
            node = writers.get(node.input[0])
        last = node is not None and node.op_type in _SOFTMAX
        names.append(str(node.input[0]) if node is not None and last else output.name)
    return names


def _is_softmax(node: onnx.NodeProto | None) -> bool:
    """Over the last axis of two."""
    if node is None or node.op_type not in _SOFTMAX:
        return False
    return all(a.name != "axis" or a.i in (-1, 1) for a in node.attribute)


def sqnr(expected: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> float:
    """In dB, the least of all outputs; 200 at most."""
    found = []
    for y, z in zip(expected, got, strict=True):
        noise, signal = float(np.sum((y - z) ** 2)), float(np.sum(y**2))
        if noise <= signal * 1e-20:
            found.append(200.0)
        elif signal == 0:
            found.append(-200.0)
        else:
            found.append(10 * float(np.log10(signal / noise)))
    return min(found, default=200.0)
