"""Which layer gets which precision: what it costs in bytes, and in which order to spend them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from footprint_compiler.quantize.edit import constant_of, name_of, shape_of
from footprint_compiler.quantize.precision import FLOAT, PRECISIONS, weight_bits
from footprint_compiler.quantize.workbench import Workbench

Assignment = Mapping[str, str]
"""Linear node -> precision."""

Noises = Mapping[str, Mapping[str, float]]
"""Linear node -> precision -> noise of the outputs when nothing else is quantized."""


def weight_bytes(bench: Workbench, layers: Assignment) -> int:
    """Of the weights of all these layers, packed, without padding."""
    return sum(_weights(bench, name) * weight_bits(one) // 8 for name, one in layers.items())


def path_of_upgrades(
    bench: Workbench, start: Assignment, noises: Noises, precisions: Sequence[str]
) -> list[tuple[str, str]]:
    """(layer, better precision) from ``start`` on, the best use of a byte first.

    It ends with the dearest precision everywhere, save for one layer if that is float.
    """
    sizes = {
        name: {one: _bytes(bench, name, one) for one in {*precisions, start[name]}}
        for name in start
    }
    now = dict(start)
    path: list[tuple[str, str]] = []
    while True:
        floats = sum(one == FLOAT for one in now.values())
        options = []
        for place, (name, precision) in enumerate(now.items()):
            for candidate in precisions[precisions.index(precision) + 1 :]:
                if candidate == FLOAT and floats == len(now) - 1:
                    continue
                gain = noises[name][precision] - noises[name][candidate]
                cost = max(sizes[name][candidate] - sizes[name][precision], 1.0)
                options.append((gain / cost, -place, name, candidate))
        if not options:
            return path
        _, _, name, candidate = max(options)
        now[name] = candidate
        path.append((name, candidate))


def _weights(bench: Workbench, name: str) -> int:
    node = next(node for node in bench.model.graph if name_of(node) == name)
    weights = constant_of(node.inputs[1])
    return 0 if weights is None else int(weights.size)


def _bytes(bench: Workbench, name: str, precision: str) -> float:
    """Of the weights of a layer and of the tensor that it reads."""
    node = next(node for node in bench.model.graph if name_of(node) == name)
    read = float(np.prod(shape_of(node.inputs[0]) or (0,)))
    bits = PRECISIONS[precision].activation_bits if precision in PRECISIONS else 32
    return _weights(bench, name) * weight_bits(precision) / 8 + read * bits / 8
