"""Time every model of a zoo in fpc and in the engines that are installed, in turn, in one process.

    python benchmarks/peers.py ZOO [--models a,b] [--targets native,x86-64-v3] [--threads 1]
                                   [--rounds 5] [--seconds 0.3] [--markdown FILE]
                                   [--openvino-isa AVX2]

ZOO is laid out as for ``zoo.py``. ONNX Runtime is always measured; OpenVINO and MNN are where they
can be imported (``pip install openvino MNN``). Each engine runs for ``--seconds`` in each round, so
that all see the same neighbours and the same clock. A cell is the minimum and the median of single
calls in microseconds and, for a peer, its largest difference from the stored outputs; the last
columns are the ratio of fpc's minimum to ONNX Runtime's and to the best peer's. A peer that cannot
load a model, or whose output is off by more than 5 % of the range, is no peer for that model.

``--openvino-isa AVX2`` keeps OpenVINO to the instructions of an x86-64-v3 target (by
ONEDNN_MAX_CPU_ISA), so that an int8 model meets a peer without VNNI, too; the
others cannot be limited and are left out.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from zoo import bindings, samples

import footprint_compiler as fpc
from footprint_compiler.errors import FpcError
from footprint_compiler.options import BuildOptions
from footprint_compiler.runtime.loader import load

Feed = dict[str, np.ndarray]
Run = Callable[[], list[np.ndarray]]

WRONG = 0.05
"""Share of the output's range; quantized models of other engines round in their own way."""


def onnxruntime_engine(model: Path, feed: Feed, threads: int) -> Run:
    """All graph optimizations; one pool of ``threads``."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return lambda: [np.asarray(one) for one in session.run(None, feed)]


def openvino_engine(model: Path, feed: Feed, threads: int) -> Run:
    """Latency hint, float32 arithmetic, inputs bound once."""
    import openvino

    core = openvino.Core()
    network = core.read_model(str(model))
    if any(port.get_partial_shape().is_dynamic for port in network.inputs):
        network.reshape({p.any_name: list(feed[p.any_name].shape) for p in network.inputs})
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = core.compile_model(network, "CPU", settings)
    request = compiled.create_infer_request()
    for port in compiled.inputs:
        request.set_tensor(port, openvino.Tensor(np.ascontiguousarray(feed[port.any_name])))

    def run() -> list[np.ndarray]:
        request.infer()
        return [request.get_tensor(port).data for port in compiled.outputs]

    return run


def mnn_engine(model: Path, feed: Feed, threads: int) -> Run:
    """High precision, converted by MNN's own tool."""
    import MNN.expr
    import MNN.nn
    import onnx

    beside = shutil.which("mnnconvert", path=str(Path(sys.executable).parent))
    converter = beside or shutil.which("mnnconvert")
    if converter is None:
        raise RuntimeError("mnnconvert is not installed")
    outputs = [one.name for one in onnx.load(str(model), load_external_data=False).graph.output]
    converted = Path(tempfile.mkdtemp()) / "model.mnn"
    command = [converter, "-f", "ONNX", "--modelFile", str(model), "--MNNModel", str(converted)]
    subprocess.run([*command, "--bizCode", "x"], capture_output=True, check=False, timeout=120)
    if not converted.is_file():
        raise RuntimeError("mnnconvert refuses the model")
    manager = MNN.nn.create_runtime_manager(
        ({"backend": 0, "numThread": threads, "precision": "high"},)
    )
    network = MNN.nn.load_module_from_file(
        str(converted), list(feed), outputs, runtime_manager=manager
    )
    kinds = {"float32": MNN.expr.float, "int32": MNN.expr.int, "uint8": MNN.expr.uint8}
    values = [
        MNN.expr.const(
            array.flatten().tolist(), list(array.shape), MNN.expr.NCHW, kinds[array.dtype.name]
        )
        for array in feed.values()
    ]

    def run() -> list[np.ndarray]:
        found = network.forward(values)
        return [one.read() for one in (found if isinstance(found, list | tuple) else [found])]

    return run


PEERS = {"onnxruntime": onnxruntime_engine, "openvino": openvino_engine, "MNN": mnn_engine}


def installed() -> dict[str, str]:
    """Version of each peer that can be imported."""
    found = {}
    for name in PEERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def peers(arguments: argparse.Namespace) -> dict[str, str]:
    """Version of each peer that is measured."""
    unlimited = ("onnxruntime", "MNN") if arguments.openvino_isa else ()
    return {name: number for name, number in installed().items() if name not in unlimited}


def difference(got: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    """Largest difference in shares of each output's range; infinite for other shapes."""
    worst = 0.0
    for have, want in zip(got, wanted, strict=False):
        if np.size(have) != np.size(want):
            return math.inf
        exact = np.asarray(want, "f8").reshape(-1)
        gap = np.abs(np.asarray(have, "f8").reshape(-1) - exact)
        worst = max(worst, float(np.max(gap, initial=0.0)) / (float(np.ptp(exact)) or 1.0))
    return worst if math.isfinite(worst) else math.inf


def measure(zoo: Path, entry: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """One row: microseconds of every engine on one model."""
    folder = zoo / "models" / entry["name"]
    feed, expected = samples(folder)[0]
    row: dict[str, Any] = {"model": entry["name"], "MMACs": (entry.get("macs") or 0) / 1e6}
    runs: dict[str, Callable[[], Any]] = {}
    shapes, constants = bindings(entry)
    with tempfile.TemporaryDirectory(prefix="fpc-peers-") as name:
        for target in arguments.targets.split(","):
            options = BuildOptions(shapes=shapes, constants=constants, threads=arguments.threads)
            try:
                built = fpc.build(folder / "model.onnx", target, options, Path(name) / target)
            except FpcError as error:
                row[f"fpc {target}"] = str(error)
                continue
            model = load(built)
            model.run({spec.name: feed[spec.name] for spec in built.inputs})
            runs[f"fpc {target}"] = lambda model=model: model.time(1)
        for peer in peers(arguments):
            try:
                run = PEERS[peer](folder / "model.onnx", feed, arguments.threads)
                off = difference(run(), list(expected.values()))
            except Exception as error:
                row[peer] = f"no: {type(error).__name__}"
                continue
            if off > WRONG:
                row[peer] = f"wrong by {off:.1g} of the range"
            else:
                runs[peer] = run
        row |= clock(runs, arguments.rounds, arguments.seconds)
    return row


def clock(runs: dict[str, Callable[[], Any]], rounds: int, seconds: float) -> dict[str, Any]:
    """(minimum, median) in microseconds of each, in turn."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            stop = time.perf_counter() + seconds
            while time.perf_counter() < stop:
                start = time.perf_counter_ns()
                own = run()
                took = time.perf_counter_ns() - start
                times[name].append((own[0] if name.startswith("fpc ") else took) / 1e3)
    return {name: (min(values), float(np.median(values))) for name, values in times.items()}


def with_ratios(row: dict[str, Any], first: str) -> dict[str, Any]:
    """The row with the ratios of the first target to ONNX Runtime and to the best peer."""
    own = row.get(f"fpc {first}")
    peers = {name: row[name][0] for name in PEERS if isinstance(row.get(name), tuple)}
    if isinstance(own, tuple) and peers:
        if "onnxruntime" in peers:
            row["to ORT"] = own[0] / peers["onnxruntime"]
        row["to best"] = own[0] / min(peers.values())
    return row


def geometric_mean(values: list[float]) -> float:
    """NaN of nothing."""
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def render(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> str:
    """Machine, versions, a Markdown table and geometric means."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    columns.sort(key=lambda key: key.startswith("to "))

    def cell(value: Any) -> str:
        if isinstance(value, tuple):
            return f"{value[0]:.1f} / {value[1]:.1f}"
        return f"{value:.2f}" if isinstance(value, float) else str(value)

    lines = [
        f"{_processor()}, {arguments.threads} thread(s); "
        + ", ".join(f"{name} {number}" for name, number in peers(arguments).items())
        + (f" with {arguments.openvino_isa}" if arguments.openvino_isa else "")
        + f", fpc {version('footprint-compiler')}. Minimum / median of single calls, microseconds.",
        "",
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(cell(row.get(key, "")) for key in columns) + " |" for row in rows),
        "",
    ]
    quantized = [row for row in rows if row["model"].endswith(("_qdq", "_qoperator"))]
    floats = [row for row in rows if row not in quantized]
    groups = {
        "float below 20 M MACs": [row for row in floats if row["MMACs"] < 20],
        "float above": [row for row in floats if row["MMACs"] >= 20],
        "quantized": quantized,
    }
    for label, group in groups.items():
        for key in ("to ORT", "to best"):
            mean = geometric_mean([row[key] for row in group if key in row])
            lines.append(f"- {label}, {key}: geometric mean {mean:.2f}")
    return "\n".join(lines)


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line),
        platform.processor(),
    )


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--models")
    parser.add_argument("--targets", default="native")
    parser.add_argument("--threads", type=int, default=1, help="of every engine")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--openvino-isa", help="keep OpenVINO to these instructions, e.g. AVX2")
    arguments = parser.parse_args()
    if arguments.openvino_isa:  # read when OpenVINO is imported
        os.environ["ONEDNN_MAX_CPU_ISA"] = arguments.openvino_isa
    entries = json.loads((arguments.zoo / "INDEX.json").read_text())["models"]
    chosen = arguments.models.split(",") if arguments.models else [e["name"] for e in entries]
    rows = []
    for entry in entries:
        if entry["name"] in chosen:
            row = with_ratios(
                measure(arguments.zoo, entry, arguments), arguments.targets.split(",")[0]
            )
            rows.append(row)
            print(row, flush=True)
    text = render(rows, arguments)
    print(text)
    if arguments.markdown:
        arguments.markdown.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
