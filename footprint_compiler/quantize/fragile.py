"""Find the tensors that 8 bits ruin, so that the nodes around them stay in float.

A power spectrum before a logarithm, a variance before a reciprocal: one scale cannot hold such
ranges, and no choice of it helps. Each quantized tensor is put to the test alone, end to end, with
everything else in float; noise of different tensors adds up. Where their sum is more than
``TOLERABLE_DB`` allows, the noisiest tensors go until it is not; the nodes that make or read them
stay in float.
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
from footprint_compiler.quantize.scheme import Scheme, data_inputs
from footprint_compiler.quantize.workbench import Recipe, Workbench, compared
from footprint_compiler.samples import Sample

TOLERABLE_DB = 20.0
MAX_SAMPLES = 4
_FINE_BITS = 22


def fragile_nodes(bench: Workbench, recipe: Recipe, reporter: Reporter) -> dict[str, str]:
    """Names of the nodes that should stay in float, and why."""
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
    return _around(bench.model.graph, scheme, bad)


def insert(bench: Workbench, scheme: Scheme, activations: Mapping[str, Affine]) -> ir.Model:
    """The model with quantized activations and float weights."""
    return insert_qdq(bench.model, replace(scheme, linear=()), activations, {})


def _around(graph: ir.Graph, scheme: Scheme, bad: Mapping[str, float]) -> dict[str, str]:
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
            found[name_of(node)] = f"8 bits for {tensor!r} alone leave {level:.1f} dB"
    return found


def _noise(expected: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> float:
    """Relative to the signal, the worst output."""
    found = [
        float(np.sum((y - z) ** 2)) / max(float(np.sum(y**2)), 1e-30)
        for y, z in zip(expected, got, strict=True)
    ]
    return min(max(found, default=0.0), 1e6)


class _Alone:
    """A model with QuantizeLinear as Round and Clip, whose steps and limits are inputs."""

    def __init__(
        self, model: ir.Model, activations: Mapping[str, Affine], samples: Sequence[Sample]
    ) -> None:
        proto = ir.serde.serialize_model(model)
        places = {f"{name}_quantize": name for name in activations}
        nodes = []
        for node in proto.graph.node:
            tensor = places.get(node.name.removesuffix("_dequantize") + "_quantize")
            if node.op_type == "QuantizeLinear" and node.name in places:
                nodes += _rounding(node, places[node.name])
            elif node.op_type == "DequantizeLinear" and tensor is not None:
                step = f"{tensor}_alone_step"
                nodes.append(onnx.helper.make_node("Mul", [node.input[0], step], list(node.output)))
            else:
                nodes.append(node)
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del proto.graph.node[:]
        proto.graph.node.extend(copies)
        kind = onnx.TensorProto.FLOAT
        for name in activations:
            for part in _PARTS:
                value = onnx.helper.make_tensor_value_info(f"{name}_alone_{part}", kind, [])
                proto.graph.input.append(value)
        self._activations, self._samples = activations, samples
        self._outputs = compared(proto)
        self._runner = Runner(proto, self._outputs)

    def run(self, coarse: frozenset[str]) -> list[np.ndarray]:
        """Compared outputs with these tensors in 8 (16) bits and the others finer."""
        feeds: dict[str, np.ndarray] = {}
        for name, parameters in self._activations.items():
            limits = np.iinfo(parameters.dtype)
            step, low, high = (
                parameters.scale,
                float(limits.min - parameters.zero_point),
                float(limits.max - parameters.zero_point),
            )
            if name not in coarse:
                step *= float(2 ** (parameters.bits - _FINE_BITS))
                low, high = -float(2**30), float(2**30)
            for part, value in zip(_PARTS, (step, low, high), strict=True):
                feeds[f"{name}_alone_{part}"] = np.array(value, np.float32)
        rows = [self._runner.run({**sample, **feeds}) for sample in self._samples]
        return [np.stack([r[n] for r in rows]).astype(np.float64) for n in self._outputs]


_PARTS = ("step", "low", "high")


def _rounding(node: onnx.NodeProto, tensor: str) -> list[onnx.NodeProto]:
    make = onnx.helper.make_node
    step, low, high = (f"{tensor}_alone_{part}" for part in _PARTS)
    return [
        make("Div", [node.input[0], step], [f"{tensor}_alone_ratio"]),
        make("Round", [f"{tensor}_alone_ratio"], [f"{tensor}_alone_round"]),
        make("Max", [f"{tensor}_alone_round", low], [f"{tensor}_alone_above"]),
        make("Min", [f"{tensor}_alone_above", high], list(node.output)),
    ]
