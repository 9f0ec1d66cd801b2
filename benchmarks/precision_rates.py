"""Measure the rates of ``footprint_compiler/precision_rates.py``: single layers on one target.

    python benchmarks/precision_rates.py TARGET [TARGET ...] [--repeats 300] [--json FILE]

TARGET is a name or a file of one: no target that comes with fpc has SMMLA, or VPDPBUSD in 256 bits.

Builds the layers of ``precision_layers`` in float32 and on 8-bit codes, takes executed instructions
of each kernel in the emulator (x86: its least time over ``--repeats`` inferences, in nanoseconds),
fits cost = per_mac * products + per_output * outputs to the relative errors, and prints a row for
each of the two tables, with the errors of the fit. No network takes part in it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from precision_layers import LAYERS, ONLY_IN_CODES, Layer, model_of

import footprint_compiler as fpc
from footprint_compiler.artifact import Artifact
from footprint_compiler.kernels.conv import ConvShape
from footprint_compiler.kernels.machine import Machine, machine_of
from footprint_compiler.kernels.winograd_cost import suits_int8, winograd_size
from footprint_compiler.options import BuildOptions
from footprint_compiler.precision_cost import NARROW_CHANNELS, rates_of
from footprint_compiler.precision_rates import Rate, Rates
from footprint_compiler.runners.layer_times import time_layers
from footprint_compiler.runners.profile import profile
from footprint_compiler.samples import random_samples
from footprint_compiler.targets import load_target

Costs = dict[str, float]
"""Name of a layer -> its cost."""


def measure(target: str, codes: bool, repeats: int) -> Costs:
    """The kernel that computes each layer; what only moves its data is left out."""
    layers = (*LAYERS, *(ONLY_IN_CODES if codes else ()))
    with tempfile.TemporaryDirectory(prefix="fpc-") as name:
        path = Path(name) / "layers.onnx"
        onnx.save(model_of(layers, codes), path)
        options = BuildOptions(name="layers", solve_nodes=0, shrink=False)
        artifact = fpc.build(path, target, options, Path(name) / "out")
        found = kernels(artifact, repeats)
    return {layer.name: cost_of(layer, found, codes) for layer in layers}


def kernels(artifact: Artifact, repeats: int) -> list[tuple[tuple[str, ...], int, float]]:
    """(layers, products, cost) of each kernel."""
    (inputs,) = random_samples(artifact.inputs, 1, 0)
    if artifact.manifest["runner"]["kind"] == "local":
        times = time_layers(artifact, inputs, repeats)
        return [(one.layers, one.macs, one.min_us * 1000) for one in times]
    shares = profile(artifact, inputs)
    return [(one.layers, one.macs, float(one.instructions)) for one in shares]


def cost_of(
    layer: Layer, found: Sequence[tuple[tuple[str, ...], int, float]], codes: bool
) -> float:
    """Of the kernel with its products, or of the only one that ends with it."""
    last = "QuantizeLinear" if codes and layer.kind != "decode" else layer.operator
    costs = [
        cost
        for names, macs, cost in found
        if {name.partition("/")[0] for name in names} == {layer.name}
        and (macs > 0 if layer.macs else any(f"/{last}" in name for name in names))
    ]
    assert len(costs) == 1, (layer.name, costs)
    return costs[0]


def fitted(layers: Sequence[Layer], costs: Costs) -> Rate:
    """Least squares of relative errors; no rate is negative."""
    sizes = np.array([[one.macs, np.prod(one.result)] for one in layers], float)
    rows = sizes / np.array([costs[one.name] for one in layers])[:, None]
    rates = np.linalg.lstsq(rows, np.ones(len(rows)), rcond=None)[0]
    if rates.min() < 0:
        keep = int(rates.argmax())
        rates = np.zeros(2)
        rates[keep] = rows[:, keep].sum() / (rows[:, keep] ** 2).sum()
    return Rate(*(float(f"{rate:.3g}") for rate in rates))


def typical(values: Sequence[float]) -> float:
    """The median, to three digits; 1 where there are none."""
    return float(f"{np.median(values):.3g}") if values else 1.0


def fit(costs: Costs, machine: Machine, codes: bool) -> Rates:
    """All rates of one form on one unit."""
    by_kind = {kind: [one for one in LAYERS if one.kind == kind] for kind in
               ("conv", "depthwise", "dense", "pool", "add", "table")}  # fmt: skip
    narrow, moved, plain = [], [], []
    for layer in by_kind["conv"]:
        few = layer.image[1] < NARROW_CHANNELS
        (narrow if few else moved if advantage(layer, machine, codes) else plain).append(layer)
    conv = fitted(plain, costs)

    def direct(layer: Layer) -> float:
        return conv.per_mac * layer.macs + conv.per_output * float(np.prod(layer.result))

    dense = fitted(by_kind["dense"], costs)
    ends = {kind: [costs[one.name] / one.operands for one in ONLY_IN_CODES if one.kind == kind]
            for kind in ("encode", "decode") if codes}  # fmt: skip
    wide = next(one for one in ONLY_IN_CODES if one.kind == "wide")
    return Rates(
        conv, dense, fitted(by_kind["depthwise"], costs),
        typical([costs[one.name] / one.operands for one in by_kind["pool"]]),
        typical([costs[one.name] / (one.operands * 1.5) for one in by_kind["add"]]),
        typical([costs[one.name] / one.operands for one in by_kind["table"]]),
        typical([costs[one.name] / direct(one) for one in narrow]),
        typical([costs[one.name] / direct(one) * advantage(one, machine, codes) for one in moved]),
        *(typical(ends[kind]) if codes else 0.0 for kind in ("encode", "decode")),
        typical([costs[wide.name] / (dense.per_mac * wide.macs)]) if codes else 1.0,
    )  # fmt: skip


def advantage(layer: Layer, machine: Machine, codes: bool) -> float:
    """Of Winograd's transform where it is chosen, by its own estimate; 0 where it is not."""
    _, channels, size, _ = layer.image
    attributes = dict(layer.attributes)
    if machine.c_unit or layer.weights[2:] != (3, 3) or attributes["strides"] != [1, 1]:
        return 0.0
    sizes = (1, size, size, channels, size, size, layer.weights[0])
    shape = ConvShape(*sizes, (3, 3), padding=(1,) * 4)
    if codes:
        return 1.0 if suits_int8(shape, machine) else 0.0
    chosen, gain = winograd_size(shape, machine)
    return gain if chosen else 0.0


def source(name: str, rates: Rates) -> str:
    """A row of ``precision_rates``."""
    rate = [f"Rate({one.per_mac}, {one.per_output})"
            for one in (rates.conv, rates.dense, rates.depthwise)]  # fmt: skip
    rest = [rates.pool, rates.elementwise, rates.table, rates.narrow, rates.winograd]
    if rates.encode:
        rest += [rates.encode, rates.decode, rates.wide]
    start = f'    "{name}": Rates('
    return f"{start}{', '.join(rate)},\n{' ' * len(start)}{', '.join(map(str, rest))}),"


def errors(rates: Rates, costs: Costs, machine: Machine, codes: bool) -> Mapping[str, float]:
    """Largest relative error of the fit for each kind of product, factors left out."""
    found: dict[str, float] = {}
    for layer in LAYERS:
        rate = {"conv": rates.conv, "dense": rates.dense, "depthwise": rates.depthwise}.get(
            layer.kind
        )
        few = layer.kind == "conv" and layer.image[1] < NARROW_CHANNELS
        moved = layer.kind == "conv" and advantage(layer, machine, codes) > 0
        if rate is not None and not few and not moved:
            guess = rate.per_mac * layer.macs + rate.per_output * float(np.prod(layer.result))
            error = abs(guess / costs[layer.name] - 1)
            found[layer.kind] = max(found.get(layer.kind, 0.0), error)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("targets", nargs="+")
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--json", type=Path, help="what was measured")
    given = parser.parse_args()
    seen: dict[str, dict[str, Costs]] = {}
    for target in given.targets:
        machine = machine_of(load_target(target))
        for codes, name in zip((False, True), reversed(rates_of(machine)), strict=True):
            costs = measure(target, codes, given.repeats)
            rates = fit(costs, machine, codes)
            form = "int8" if codes else "float"
            seen.setdefault(target, {})[form] = costs
            off = errors(rates, costs, machine, codes)
            worst = ", ".join(f"{kind} {error:.0%}" for kind, error in off.items())
            print(f"{source(name, rates)}  # {form}, {target}; worst: {worst}", flush=True)
    if given.json:
        given.json.write_text(json.dumps(seen, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
