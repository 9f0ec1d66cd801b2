"""The estimate of int8 to float32 that `fpc build` gives, beside what is measured.

    python benchmarks/precision_pairs.py ZOO [--targets cortex-m4,arm64] [--models kws01_dscnn_qdq]
                                         [--rounds 20] [--json FILE]

ZOO is laid out as for ``zoo.py``. Each quantized model and its float form are built for each
target, all channels kept, and measured: executed instructions in the emulator, or, on x86, the
least time of calls in turn. The float form is the zoo's own, or (marked *) the quantized file with
QuantizeLinear and DequantizeLinear taken out. No rate of the estimate was fitted to any of them.

A cell is measured : estimated, int8 to float32. Below, per target: the typical error (geometric
mean of the factor between the two), the largest, and how often both lie on one side of 1.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path

import numpy as np
import onnx
from integer import FLOAT
from onnx import TensorProto
from zoo import bindings

import footprint_compiler as fpc
from footprint_compiler import runners
from footprint_compiler.artifact import Artifact
from footprint_compiler.options import BuildOptions
from footprint_compiler.precision import MARGIN
from footprint_compiler.samples import random_samples

TARGETS = (
    *("x86-64", "x86-64-v3", "native", "cortex-a72", "cortex-a76", "armv7"),
    *("cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m33", "cortex-m55"),
)
CODES = ("QuantizeLinear", "DequantizeLinear")


def unquantized(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network on floats: activations keep their values, weights are still decoded."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    constants = {one.name for one in graph.initializer}
    moved: dict[str, str] = {}
    kept = []
    for node in graph.node:
        node.input[:] = [moved.get(name, name) for name in node.input]
        if node.op_type in CODES and node.input[0] not in constants:
            moved[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    for value in graph.input:
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    del graph.value_info[:]
    for output in graph.output:
        output.name = moved.get(output.name, output.name)
        output.type.tensor_type.elem_type = TensorProto.FLOAT
    return result


def measured(pair: list[Artifact], rounds: int) -> float:
    """Cost of the first to that of the second."""
    inputs = [next(random_samples(one.inputs, 1, 0)) for one in pair]
    if pair[0].manifest["runner"]["kind"] != "local":
        counts = [
            runners.run(one, given, count=True).instructions
            for one, given in zip(pair, inputs, strict=True)
        ]
        integer, plain = counts
        assert integer is not None
        assert plain is not None
        return integer / plain
    with fpc.load(pair[0]) as first, fpc.load(pair[1]) as second:
        for model, given in zip((first, second), inputs, strict=True):
            model.run(given)
        least = [math.inf, math.inf]
        for _ in range(rounds):
            for at, model in enumerate((first, second)):
                least[at] = min(least[at], *model.time(50))
    return least[0] / least[1]


def compare(
    zoo: Path, entries: dict[str, dict[str, object]], name: str, target: str, rounds: int
) -> tuple[float, float]:
    """(measured, estimated)."""
    shapes, constants = bindings(entries[name])
    options = BuildOptions(
        name="m", shapes=shapes, constants=constants, shrink=False, solve_nodes=0
    )
    with tempfile.TemporaryDirectory(prefix="fpc-") as folder:
        quantized = zoo / "models" / name / "model.onnx"
        if name in FLOAT:
            plain = zoo / "models" / FLOAT[name] / "model.onnx"
        else:
            plain = Path(folder) / "float.onnx"
            onnx.save(unquantized(onnx.load(quantized)), plain)
        pair = [
            fpc.build(path, target, options, Path(folder) / str(at))
            for at, path in enumerate((quantized, plain))
        ]
        return measured(pair, rounds), float(pair[0].manifest["precision"]["ratio"])


def table(found: dict[str, dict[str, tuple[float, float]]]) -> str:
    """Markdown: a row for each model, then the errors."""
    targets = list(dict.fromkeys(target for row in found.values() for target in row))
    lines = [f"| model | {' | '.join(targets)} |", "|---" * (len(targets) + 1) + "|"]
    for name, row in found.items():
        cells = [f"{row[t][0]:.3f} : {row[t][1]:.3f}" if t in row else "" for t in targets]
        lines.append(f"| {name}{'' if name in FLOAT else ' *'} | {' | '.join(cells)} |")
    errors = {
        t: np.log([row[t][1] / row[t][0] for row in found.values() if t in row]) for t in targets
    }
    sides = {
        t: [(row[t][0] > 1) == (row[t][1] > 1) for row in found.values() if t in row]
        for t in targets
    }
    typical = [f"{math.exp(np.abs(errors[t]).mean()) - 1:.0%}" for t in targets]
    largest = [f"{math.exp(np.abs(errors[t]).max()) - 1:.0%}" for t in targets]
    agreed = [f"{sum(sides[t])} of {len(sides[t])}" for t in targets]
    lines.append(f"| **typical error** | {' | '.join(typical)} |")
    lines.append(f"| **largest error** | {' | '.join(largest)} |")
    lines.append(f"| **same side of 1** | {' | '.join(agreed)} |")
    return "\n".join(lines)


def warnings(found: dict[str, dict[str, tuple[float, float]]]) -> str:
    """What a warning from 1 + MARGIN on gets right."""
    cells = [cell for row in found.values() for cell in row.values()]
    said = [real for real, guess in cells if guess > 1 + MARGIN]
    silent = [real for real, guess in cells if guess <= 1 + MARGIN]
    return (
        f"{len(said)} of {len(cells)} estimates exceed {1 + MARGIN:.2f}; int8 is slower in "
        f"{sum(real > 1 for real in said)} of them, and by more than that in "
        f"{sum(real > 1 + MARGIN for real in silent)} of the others"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--models", default="")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path, help="kept between runs; cells are added to it")
    given = parser.parse_args()
    index = json.loads((given.zoo / "INDEX.json").read_text(encoding="utf-8"))["models"]
    entries = {entry["name"]: entry for entry in index}
    wanted = given.models.split(",") if given.models else [n for n in entries if n.endswith("_qdq")]
    found: dict[str, dict[str, tuple[float, float]]] = {}
    if given.json and given.json.is_file():
        found = json.loads(given.json.read_text(encoding="utf-8"))
    for target in given.targets.split(","):
        for name in wanted:
            cell = compare(given.zoo, entries, name, target, given.rounds)
            found.setdefault(name, {})[target] = cell
            print(f"{name} {target} {cell[0]:.3f} {cell[1]:.3f}", flush=True)
            if given.json:
                given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(found))
    print()
    print(warnings(found))


if __name__ == "__main__":
    main()
