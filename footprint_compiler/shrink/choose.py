"""Decide what goes: channels that add nothing, or only to a bias, wherever they are summed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from footprint_compiler.shrink.analysis import Analysis, Layer
from footprint_compiler.shrink.fold_bias import contribution, quantized_layer

INT32 = np.iinfo(np.int32)


@dataclass
class Choice:
    """Atoms to remove and what that leaves behind.

    Attributes:
        removed: representatives of the sets of atoms.
        biases: name of an int32 initializer -> its new value, before anything is cut.
    """

    removed: set[int]
    biases: dict[str, np.ndarray] = field(default_factory=dict)


def choose_removals(analysis: Analysis) -> Choice:
    """Everything that can go in one step without changing an output."""
    folds: dict[str, dict[int, np.ndarray]] = {}
    for layer in analysis.layers:
        if layer.source is not None and not layer.depthwise:
            _judge(analysis, layer, folds)
    removed = analysis.atoms.free()
    for channels in analysis.channels.values():
        roots = analysis.atoms.roots(channels.atoms)
        if all(int(r) in removed for r in roots):  # no tensor may become empty
            removed.discard(int(roots[0]))
    biases = {}
    for name, parts in folds.items():
        going = [a for a in parts if analysis.atoms.find(a) in removed]
        added = analysis.network.weights[name].astype(np.int64)
        for atom in going:
            added = added + parts[atom]
        if added.max(initial=0) > INT32.max or added.min(initial=0) < INT32.min:
            removed -= {analysis.atoms.find(a) for a in going}
            return _without_folds(analysis, removed, folds)
        biases[name] = added.astype(np.int32)
    return Choice(removed, biases)


def _without_folds(
    analysis: Analysis, removed: set[int], folds: dict[str, dict[int, np.ndarray]]
) -> Choice:
    """A bias would overflow: keep everything that needs one."""
    needed = {analysis.atoms.find(a) for parts in folds.values() for a in parts}
    return Choice(removed - needed)


def _judge(analysis: Analysis, layer: Layer, folds: dict[str, dict[int, np.ndarray]]) -> None:
    """Pin the atoms that this layer needs; note what others add to its bias."""
    source = layer.source
    if source is None:
        return
    weights = np.moveaxis(analysis.values[layer.node.input[1]], layer.in_axis, 0)
    unused = ~(weights.reshape(len(weights), -1) != 0).any(axis=1)
    data = analysis.values.get(layer.node.input[0])
    zero = np.zeros(len(unused), bool)
    if data is not None:
        rows = np.moveaxis(data, source.axis, 0).reshape(len(unused), -1)
        zero = source.known & ~(rows != 0).any(axis=1)
    roots = analysis.atoms.roots(source.atoms)
    quantized = None
    for atom in np.unique(roots[~(unused | zero)]).tolist():
        index = np.flatnonzero((roots == atom) & ~(unused | zero))
        added = None
        if atom and source.known[index].all():
            quantized = quantized or quantized_layer(analysis, layer)
            added = contribution(analysis, quantized, index) if quantized else None
        if added is None or quantized is None:
            analysis.atoms.pin([atom])
        else:
            folds.setdefault(quantized.bias, {})[atom] = added
