"""Build every model of a zoo folder, compare it with its reference, and time it beside a peer.

    python benchmarks/zoo.py ZOO [--targets x86-64-v3,arm64] [--models a,b] [--latency]

ZOO holds INDEX.json and models/NAME/{model.onnx, io.npz}; io.npz has keys in{k}::NAME and
out{k}::NAME of sample k. Per model and target: build seconds, largest error over all samples
(relative to the range of the output over the samples in float, in units of the last place for
integer outputs), arena bytes, the planner's lower bound, flash bytes. Foreign targets run one
sample under emulation and report executed instructions. With --latency the native build is timed
in turn with ONNX Runtime (one thread, same process, interleaved rounds, minimum and median).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import footprint_compiler as fpc
from footprint_compiler import runners
from footprint_compiler.errors import FpcError
from footprint_compiler.options import BuildOptions
from footprint_compiler.runtime.loader import load

HOSTED = ("native", "x86-64", "x86-64-v3", "x86-64-v4")


def samples(folder: Path) -> list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """(inputs, outputs) of every stored sample."""
    raw = np.load(folder / "io.npz", allow_pickle=False)
    found: dict[int, tuple[dict[str, np.ndarray], dict[str, np.ndarray]]] = {}
    for key in raw.files:
        head, name = key.split("::", 1)
        side, number = head.rstrip("0123456789"), int(head.lstrip("inout"))
        found.setdefault(number, ({}, {}))[side == "out"][name] = raw[key]
    return [found[number] for number in sorted(found)]


def bindings(entry: dict[str, Any]) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """(shapes, constants) that a model of the zoo needs; a scalar without shape is a rate."""
    shapes, constants = {}, {}
    for name, shape in (entry.get("bind_shapes") or {}).items():
        if shape:
            shapes[name] = tuple(shape)
        else:
            constants[name] = 16000
    return shapes, constants


def largest_error(
    results: list[dict[str, np.ndarray]],
    expected: list[dict[str, np.ndarray]],
    steps: dict[str, float],
) -> float:
    """Largest difference, relative to each output's range, or in steps of a quantized output."""
    worst = 0.0
    for name in expected[0]:
        want = np.stack([np.asarray(sample[name], dtype="f8") for sample in expected])
        got = np.stack([np.asarray(sample[name], dtype="f8") for sample in results])
        integral = expected[0][name].dtype.kind in "iub"
        unit = 1.0 if integral else steps.get(name) or float(np.ptp(want)) or 1.0
        worst = max(worst, float(np.max(np.abs(got - want), initial=0.0)) / unit)
    return worst


def last_step(model: Path) -> dict[str, float]:
    """Scale of the DequantizeLinear that writes an output, by output name."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(model)).graph
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    outputs = {value.name for value in graph.output}
    return {
        node.output[0]: float(constants[node.input[1]])
        for node in graph.node
        if node.op_type == "DequantizeLinear"
        and node.output[0] in outputs
        and node.input[1] in constants
    }


def one(zoo: Path, entry: dict[str, Any], target: str, out: Path) -> dict[str, Any]:
    """Build, run and compare one model for one target."""
    folder = zoo / "models" / entry["name"]
    shapes, constants = bindings(entry)
    start = time.perf_counter()
    options = BuildOptions(shapes=shapes, constants=constants)
    try:
        artifact = fpc.build(folder / "model.onnx", target, options, out / entry["name"])
    except FpcError as error:
        return {"refused": str(error)}
    seconds = time.perf_counter() - start
    known = samples(folder)
    names = {spec.name for spec in artifact.inputs}
    expected = [outputs for _, outputs in known]
    feeds = [{k: v for k, v in inputs.items() if k in names} for inputs, _ in known]
    row: dict[str, Any] = {"seconds": seconds, "macs": artifact.manifest["macs"]}
    if target in HOSTED:
        with load(artifact) as model:
            results = [model.run(feed) for feed in feeds]
    else:
        done = runners.run(artifact, feeds[0], count=True)
        results, expected = [done.outputs], expected[:1]
        row["instructions"] = done.instructions
    row["error"] = largest_error(results, expected, last_step(folder / "model.onnx"))
    footprint, plan = artifact.manifest["footprint"], artifact.manifest["plan"]
    row["arena"] = footprint["ram"]["arena_bytes"]
    row["bound"] = plan["lower_bound_bytes"]
    row["flash"] = footprint["flash"]["total_bytes"]
    row["stack"] = footprint["ram"]["stack_bytes"]
    return row


def latency(zoo: Path, entry: dict[str, Any], out: Path, rounds: int = 7) -> dict[str, Any]:
    """Minimum and median microseconds, fpc and ONNX Runtime in turn."""
    import onnxruntime as ort

    folder = zoo / "models" / entry["name"]
    shapes, constants = bindings(entry)
    options = BuildOptions(shapes=shapes, constants=constants)
    artifact = fpc.build(folder / "model.onnx", "native", options, out / f"{entry['name']}-native")
    feed = samples(folder)[0][0]
    session_options = ort.SessionOptions()
    session_options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        str(folder / "model.onnx"), session_options, providers=["CPUExecutionProvider"]
    )
    times: dict[str, list[float]] = {"fpc": [], "onnxruntime": []}
    with load(artifact) as model:
        model.run({spec.name: feed[spec.name] for spec in artifact.inputs})
        for _ in range(rounds):
            times["fpc"] += [ns / 1e3 for ns in model.time(30)]
            for _ in range(30):
                start = time.perf_counter_ns()
                session.run(None, feed)
                times["onnxruntime"].append((time.perf_counter_ns() - start) / 1e3)
    row = {}
    for name, values in times.items():
        row[f"{name}_min_us"] = min(values)
        row[f"{name}_median_us"] = float(np.median(values))
    row["ratio"] = row["fpc_min_us"] / row["onnxruntime_min_us"]
    return row


def render(rows: list[dict[str, Any]]) -> str:
    """A Markdown table."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = []
        for column in columns:
            value = row.get(column, "")
            cells.append(f"{value:.3g}" if isinstance(value, float) else str(value))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--targets", default="x86-64-v3,arm64")
    parser.add_argument("--models")
    parser.add_argument("--latency", action="store_true")
    parser.add_argument("--max-macs", type=int)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    entries = json.loads((arguments.zoo / "INDEX.json").read_text())["models"]
    chosen = arguments.models.split(",") if arguments.models else [e["name"] for e in entries]
    rows = []
    for entry in entries:
        too_large = arguments.max_macs and (entry.get("macs") or 0) > arguments.max_macs
        if entry["name"] not in chosen or too_large:
            continue
        with tempfile.TemporaryDirectory(prefix="fpc-zoo-") as folder:
            if arguments.latency:
                try:
                    rows.append(
                        {"model": entry["name"], **latency(arguments.zoo, entry, Path(folder))}
                    )
                except FpcError as error:
                    rows.append({"model": entry["name"], "refused": str(error)})
                print(rows[-1], flush=True)
                continue
            for target in arguments.targets.split(","):
                row = {"model": entry["name"], "target": target}
                row |= one(arguments.zoo, entry, target, Path(folder) / target)
                rows.append(row)
                print(row, flush=True)
    table = render(rows)
    print(table)
    if arguments.markdown:
        arguments.markdown.write_text(table + "\n")


if __name__ == "__main__":
    main()
