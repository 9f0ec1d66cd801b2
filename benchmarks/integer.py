"""Quantized models of a zoo in integers: distance from their references, and bytes beside float.

    python benchmarks/integer.py ZOO [--models kws01_dscnn_qdq] [--sizes cortex-m4] [--json FILE]

ZOO holds INDEX.json and models/NAME/{model.onnx, io.npz}. One row for each model whose name ends in
_qdq or _qoperator, built for this machine and run on all stored samples:

max LSB, within 1   largest difference from io.npz in steps of the output, and the share of elements
                    that differ by at most one step
top-1               share of samples with the same largest element
exact LSB           largest difference from QDQ as written in float64, on the first sample
integer             share of multiply-accumulates in integer kernels
arena, flash        bytes of the build for the target of --sizes, and their ratio to those of the
                    float model of the same name; where the zoo has none, of the same file built
                    with --no-integer (marked *)

Nothing is timed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from zoo import bindings, samples

import footprint_compiler as fpc
from footprint_compiler.errors import FpcError
from footprint_compiler.frontend.qoperator import rewrite_quantized_operators
from footprint_compiler.options import BuildOptions
from footprint_compiler.output_scales import output_scales
from footprint_compiler.validation.exact import ExactModel

FLOAT = {
    "ad01_autoencoder_qdq": "ad01_autoencoder",
    "ic01_resnet8_qdq": "ic01_resnet8",
    "kws01_dscnn_qdq": "kws01_dscnn",
    "micro_kws_m_qdq": "micro_kws_m_fp32",
    "micro_kws_m_qoperator": "micro_kws_m_fp32",
    "sww01_streaming_qdq": "sww01_streaming_wakeword",
    "vww01_mobilenetv1_qdq": "vww01_mobilenetv1_025",
}
"""Quantized model -> float model that it was made from."""


def distances(model: Path, artifact: fpc.Artifact) -> dict[str, float]:
    """Steps between the artifact and the stored outputs, and float64 on the first sample."""
    scales = output_scales(model)
    found: list[np.ndarray] = []
    same, exact = [], 0.0
    reference = ExactModel(rewrite_quantized_operators(onnx.load(model)))
    with fpc.load(artifact) as loaded:
        for number, (inputs, outputs) in enumerate(samples(model.parent)):
            results = loaded.run({spec.name: inputs[spec.name] for spec in artifact.inputs})
            for name, want in outputs.items():
                step = scales.get(name, 1.0) if want.dtype.kind == "f" else 1.0
                difference = np.abs(results[name].astype(np.float64) - want.astype(np.float64))
                found.append(np.rint(difference / step).ravel())
                same.append(float(results[name].argmax() == want.argmax()))
                if number == 0:
                    real = reference.run([name], inputs)[name].astype(np.float64)
                    steps = np.rint(np.abs(results[name].astype(np.float64) - real) / step)
                    exact = max(exact, float(steps.max()))
    steps = np.concatenate(found)
    return {
        "max_lsb": float(steps.max()),
        "within_1": float((steps <= 1).mean()),
        "top1": float(np.mean(same)),
        "exact_lsb": exact,
    }


def sizes(artifact: fpc.Artifact) -> tuple[int, int]:
    """(arena, flash) bytes."""
    footprint = artifact.manifest["footprint"]
    return footprint["ram"]["arena_bytes"], footprint["flash"]["total_bytes"]


def measure(
    zoo: Path, entry: dict[str, Any], entries: dict[str, Any], target: str
) -> dict[str, Any]:
    """One row."""
    name = entry["name"]
    with tempfile.TemporaryDirectory(prefix="fpc-") as folder:

        def build(which: str, machine: str, **options: Any) -> fpc.Artifact:
            shapes, constants = bindings(entries[which])
            chosen = BuildOptions(name="m", shapes=shapes, constants=constants, **options)
            out = Path(folder) / f"{which}-{machine}-{len(options)}"
            return fpc.build(zoo / "models" / which / "model.onnx", machine, chosen, out)

        native = build(name, "native")
        row = distances(zoo / "models" / name / "model.onnx", native)
        manifest = native.manifest
        row["integer"] = manifest["integer_macs"] / max(1, manifest["macs"])
        row["float_islands"] = len(manifest["float_islands"])
        row["arena"], row["flash"] = sizes(build(name, target))
        partner = FLOAT.get(name)
        other = build(partner, target) if partner else build(name, target, integer=False)
        arena, flash = sizes(other)
        ratios = {"arena_ratio": row["arena"] / arena, "flash_ratio": row["flash"] / flash}
        return {"model": name, **row, **ratios, "partner": partner or "*"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--models", default="")
    parser.add_argument("--sizes", default="cortex-m4", help="target whose bytes are shown")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    index = json.loads((given.zoo / "INDEX.json").read_text(encoding="utf-8"))["models"]
    entries = {entry["name"]: entry for entry in index}
    wanted = [name for name in given.models.split(",") if name]
    names = wanted or [name for name in entries if name.endswith(("_qdq", "_qoperator"))]
    rows = []
    print(f"{'model':26}{'max LSB':>8}{'within 1':>10}{'top-1':>8}{'exact':>7}{'integer':>9}"
          f"{'arena':>9}{'ratio':>7}{'flash':>9}{'ratio':>7}")  # fmt: skip
    for name in names:
        try:
            row = measure(given.zoo, entries[name], entries, given.sizes)
        except FpcError as error:
            print(f"{name:26}{error}", flush=True)
            continue
        rows.append(row)
        star = "*" if row["partner"] == "*" else ""
        print(f"{name:26}{row['max_lsb']:8.0f}{row['within_1']:10.2%}{row['top1']:8.1%}"
              f"{row['exact_lsb']:7.0f}{row['integer']:9.2%}{row['arena']:9,}"
              f"{row['arena_ratio']:7.2f}{row['flash']:9,}{row['flash_ratio']:7.2f}{star}",
              flush=True)  # fmt: skip
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
