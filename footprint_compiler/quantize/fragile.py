"""Find the tensors that 8 bits ruin, so that the nodes around them stay in float.

A power spectrum before a logarithm, a variance before a reciprocal: one scale cannot hold such
ranges, and no choice of it helps. Each quantized tensor is put to the test alone, end to end, with
everything else in float; noise of different tensors adds up. Where their sum is more than
``TOLERABLE_DB`` allows, the noisiest tensors go until it is not; the nodes that make or read them
stay in float. Before that, where the noisy tensors are parts of one (hidden and cell state in one
input, say), taking it apart or putting it together stays in float, so that each part gets a scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir

from footprint_compiler.calibration.statistics import Runner
from footprint_compiler.progress import Reporter
from footprint_compiler.quantize.affine import Affine
from footprint_compiler.quantize.edit import name_of
from footprint_compiler.quantize.insert import insert_qdq
from footprint_compiler.quantize.operators import MOVES
from footprint_compiler.quantize.scheme import Scheme, data_inputs
from footprint_compiler.quantize.workbench import Recipe, Workbench, compared
from footprint_compiler.samples import Sample

TOLERABLE_DB = 20.0
MAX_SAMPLES = 4
HOPELESS = 1e6
"""Relative noise that stands for all that is worse, infinities included."""


def fragile_nodes(bench: Workbench, recipe: Recipe, reporter: Reporter) -> dict[str, str]:
    """Names of the nodes that should stay in float, and why."""
    scheme = bench.scheme(recipe)
    bits = bench.widths(scheme, recipe).bits
    return _around(bench.model.graph, scheme, _noisy(bench, recipe, reporter), bits)


def joints(bench: Workbench, recipe: Recipe, reporter: Reporter) -> dict[str, str]:
    """Names of the nodes that impose one scale on noisy parts of a tensor, and why."""
    noisy, found = _noisy(bench, recipe, reporter), {}
    integer = bench.scheme(recipe).integer
    for node in bench.model.graph:
        ends = [*data_inputs(node), *node.outputs] if _joins(node) else []
        if name_of(node) in integer and any(name_of(value) in noisy for value in ends):
            found[name_of(node)] = "8 bits of one scale are not enough for all of its parts"
    return found


def _joins(node: ir.Node) -> bool:
    """Whether a node puts parts together, or takes an input of the model apart."""
    if node.op_type not in ("Slice", "Split"):
        return node.op_type == "Concat"
    value = node.inputs[0]
    producer = value.producer() if value is not None else None
    while producer is not None and producer.op_type in MOVES - {"Concat"}:
        value = producer.inputs[0]
        producer = value.producer() if value is not None else None
    return producer is None


def _noisy(bench: Workbench, recipe: Recipe, reporter: Reporter) -> dict[str, float]:
    """Tensors that go, and their noise."""
    scheme = bench.scheme(recipe)
    activations = bench.activations(scheme, recipe)
    samples = bench.calibration[:MAX_SAMPLES]
    test = _Alone(insert(bench, scheme, activations), activations, samples)
    expected = test.run(frozenset())
    groups: dict[str, set[str]] = {}
    for name, group in scheme.tensors.items():
        groups.setdefault(group, set()).add(name)
    noises: dict[str, float] = {}
    for done, (group, members) in enumerate(groups.items()):
        noises[group] = _noise(expected, test.run(frozenset(members)))
        reporter.progress(done + 1, len(groups))
    left, tolerable = sum(noises.values()), 10 ** (-TOLERABLE_DB / 10)
    bad: dict[str, float] = {}
    for group in sorted(noises, key=lambda name: -noises[name]):
        if left <= tolerable:
            break
        left -= noises[group]
        bad |= dict.fromkeys(groups[group], noises[group])
    return bad


def insert(bench: Workbench, scheme: Scheme, activations: Mapping[str, Affine]) -> ir.Model:
    """The model with quantized activations and float weights."""
    return insert_qdq(bench.model, replace(scheme, linear=()), activations, {})


def _around(
    graph: ir.Graph, scheme: Scheme, bad: Mapping[str, float], bits: Mapping[str, int]
) -> dict[str, str]:
    heads = {tail: head for head, tail in scheme.tails.items()}
    found = {}
    for node in graph:
        if name_of(node) not in scheme.integer:
            continue
        results = [name_of(value) for value in node.outputs]
        roots = [scheme.roots[name] for name in results if name in scheme.roots]
        tails = [scheme.tails.get(name, name) for name in results]
        touched = {*results, *tails, *roots, *(name_of(v) for v in data_inputs(node))}
        touched |= {heads[name] for name in touched if name in heads}
        hit = sorted((bad[name], name) for name in touched if name in bad)
        if hit:
            noise, tensor = hit[-1]
            level = -10 * float(np.log10(max(noise, 1e-20)))
            found[name_of(node)] = f"{bits[tensor]} bits for {tensor!r} alone leave {level:.1f} dB"
    return found


def _noise(expected: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> float:
    """Relative to the signal, the worst output."""
    worst = 0.0
    for y, z in zip(expected, got, strict=True):
        if not np.isfinite(z).all():  # the logarithm of a zero that was a small number
            return HOPELESS
        worst = max(worst, float(np.sum((y - z) ** 2)) / max(float(np.sum(y**2)), 1e-30))
    return min(worst, HOPELESS)


class _Alone:
    """A model where each tensor is x + gate (quantized x - x), and gates are inputs."""

    def __init__(
        self, model: ir.Model, activations: Mapping[str, Affine], samples: Sequence[Sample]
    ) -> None:
        proto = ir.serde.serialize_model(model)
        writers = {node.output[0]: node for node in proto.graph.node}
        tensors = {f"{name}_dequantize": name for name in activations}
        nodes: list[onnx.NodeProto] = []
        for node in proto.graph.node:
            nodes.append(node)
            if node.op_type == "DequantizeLinear" and node.name in tensors:
                nodes += _gated(node, writers[node.input[0]].input[0], tensors[node.name])
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del proto.graph.node[:]
        proto.graph.node.extend(copies)
        self._gates = {name: f"{name}_gate" for name in activations}
        for gate in self._gates.values():
            value = onnx.helper.make_tensor_value_info(gate, onnx.TensorProto.FLOAT, [])
            proto.graph.input.append(value)
        self._samples = samples
        self._outputs = compared(proto)
        self._runner = Runner(proto, self._outputs)

    def run(self, quantized: frozenset[str]) -> list[np.ndarray]:
        """Compared outputs with these tensors quantized and no others."""
        feeds = {
            gate: np.array(name in quantized, np.float32) for name, gate in self._gates.items()
        }
        rows = [self._runner.run({**sample, **feeds}) for sample in self._samples]
        return [np.stack([r[n] for r in rows]).astype(np.float64) for n in self._outputs]


def _gated(node: onnx.NodeProto, plain: str, tensor: str) -> list[onnx.NodeProto]:
    """What follows a DequantizeLinear, whose output gets another name."""
    make, result = onnx.helper.make_node, node.output[0]
    real, error, part = (f"{tensor}_gate_{what}" for what in ("real", "error", "part"))
    node.output[0] = real
    return [
        make("Sub", [real, plain], [error]),
        make("Mul", [error, f"{tensor}_gate"], [part]),
        make("Add", [plain, part], [result]),
    ]
