"""Executed instructions on 64-bit Arm cores, beside the best of three other engines.

    python benchmarks/arm64.py ZOO [--models kws01_dscnn,...] [--cores cortex-a72,...]
                               [--tuning-records DIR] [--markdown FILE]

ZOO is laid out as for ``zoo.py``. Each model is built with tuning records (those that come with
fpc, or those of ``--tuning-records``) and, where any applies, once more without; it runs in
qemu-aarch64 on its first stored sample and is compared with the stored outputs. ``i8mm`` is
Cortex-A76 with 8-bit matrix products; it has no records. QEMU has no Cortex-A55: the peers take it
for the Cortex-A76 that is emulated in its place, and so have the same counts.

A row: multiply-accumulates of the model as given, thousands of instructions of one inference by
default schedules and with records, their number per multiply-accumulate, the ratio to the best
peer, kernels that follow a record, bytes of the arena.

Peers: unmodified wheels for aarch64 of ONNX Runtime 1.31.1, LiteRT 2.3.0 with XNNPACK and
MNN 3.6.1, one thread, in the same emulator, thousands of instructions of one call in a steady
state, the call from Python (3 to 18 thousand) included. Counts of instructions are not times.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from zoo import bindings, last_step, samples

import footprint_compiler as fpc
from footprint_compiler import runners
from footprint_compiler.artifact import Artifact
from footprint_compiler.options import BuildOptions

ENGINES = ("ONNX Runtime", "XNNPACK", "MNN")
NA = 0
"""Not measured."""

#: Model -> core -> thousands of instructions of each of ``ENGINES``.
PEERS: dict[str, dict[str, tuple[int, int, int]]] = {
    "kws01_dscnn": {
        "cortex-a53": (3024, 1998, 1367),
        "cortex-a72": (3024, 1411, 1367),
        "cortex-a76": (3023, 1351, 1367),
        "i8mm": (3023, 1299, 1367),
    },
    "ic01_resnet8": {
        "cortex-a53": (6548, 7058, 3021),
        "cortex-a72": (6547, 4886, 3021),
        "cortex-a76": (6547, 4705, 3021),
        "i8mm": (6546, 4608, 3029),
    },
    "vww01_mobilenetv1_025": {
        "cortex-a53": (7630, 5512, 3520),
        "cortex-a72": (7630, 3628, 3520),
        "cortex-a76": (7629, 3516, 3520),
        "i8mm": (7628, 3648, 3523),
    },
    "ad01_autoencoder": {
        "cortex-a53": (177, 181, NA),
        "cortex-a72": (178, 132, NA),
        "cortex-a76": (177, 132, NA),
        "i8mm": (177, 136, NA),
    },
    "mobilenetv2_035_128": {
        "cortex-a53": (21289, 15145, 9198),
        "cortex-a72": (21289, 9657, 9198),
        "cortex-a76": (21286, 9717, 9198),
        "i8mm": (21287, 9722, 9202),
    },
    "kws01_dscnn_qdq": {
        "cortex-a53": (1447, 1338, NA),
        "cortex-a72": (1447, 1942, NA),
        "cortex-a76": (854, 713, NA),
        "i8mm": (854, 735, NA),
    },
    "ic01_resnet8_qdq": {
        "cortex-a53": (5486, 5013, NA),
        "cortex-a72": (5487, 4323, NA),
        "cortex-a76": (2701, 1501, NA),
        "i8mm": (2708, 1254, NA),
    },
    "vww01_mobilenetv1_qdq": {
        "cortex-a53": (4878, 4016, NA),
        "cortex-a72": (4878, 3617, NA),
        "cortex-a76": (3164, 1929, NA),
        "i8mm": (3163, 1902, NA),
    },
    "ad01_autoencoder_qdq": {
        "cortex-a53": (207, 140, NA),
        "cortex-a72": (208, 96, NA),
        "cortex-a76": (168, 47, NA),
        "i8mm": (162, 43, NA),
    },
    "micro_kws_m_qdq": {
        "cortex-a53": (3876, NA, NA),
        "cortex-a72": (3875, NA, NA),
        "cortex-a76": (2711, NA, NA),
        "i8mm": (2718, NA, NA),
    },
}
SAME = {"cortex-a55": "cortex-a76"}
"""Core -> the one that the peers ran on."""
COLUMNS = (
    "core",
    "MMACs",
    "default, k",
    "records, k",
    "per MAC",
    "best peer, k",
    "ratio",
    "by record",
    "arena",
)


def target_of(core: str, folder: Path) -> str:
    """A target's name, or for ``i8mm`` a file in ``folder``: Cortex-A76 with one more feature."""
    if core != "i8mm":
        return core
    text = (Path(__file__).parents[1] / "targets" / "cortex-a76.toml").read_text(encoding="utf-8")
    for old, new in (
        ('name = "cortex-a76"', 'name = "i8mm"'),
        ('aliases = ["a76"]', "aliases = []"),
        ('mcpu = "cortex-a76"', 'mcpu = "cortex-a76"\nmattr = ["+i8mm"]'),
        ('\ncpu = "cortex-a76"', '\ncpu = "max,sve=off,sme=off"'),
    ):
        if text.count(old) != 1:
            raise ValueError(f"targets/cortex-a76.toml has no single {old!r}")
        text = text.replace(old, new)
    path = folder / "i8mm.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def measure(
    folder: Path, entry: dict[str, Any], core: str, records: str, scratch: Path
) -> dict[str, Any]:
    """One row, counts in thousands.

    Raises:
        ValueError: the outputs are not the stored ones.
    """
    shapes, constants = bindings(entry)
    inputs, expected = samples(folder)[0]
    counts: dict[str, float] = {}
    target = target_of(core, scratch)
    for source in (records, "none"):
        options = BuildOptions(
            name="model", shapes=shapes, constants=constants, tuning_records=source
        )
        built = fpc.build(folder / "model.onnx", target, options, scratch / f"{core}-{source[-4:]}")
        applied = sum(row.get("schedule") == "record" for row in built.manifest["layers"])
        result = runners.run(built, {s.name: inputs[s.name] for s in built.inputs}, count=True)
        check(folder, built, result.outputs, expected)
        assert result.instructions is not None
        counts.setdefault("records", result.instructions / 1e3)
        counts["default"] = result.instructions / 1e3
        if source == records:
            by_record, kernels = applied, len(built.manifest["layers"])
            arena = built.manifest["footprint"]["ram"]["arena_bytes"]
        if not applied:
            break
    peer = min(count for count in PEERS[entry["name"]][SAME.get(core, core)] if count)
    return {
        "model": entry["name"],
        "core": core,
        "macs": int(entry["macs"]),
        **counts,
        "peer": peer,
        "by_record": f"{by_record} of {kernels}",
        "arena": arena,
    }


def check(
    folder: Path,
    built: Artifact,
    outputs: dict[str, np.ndarray],
    expected: dict[str, np.ndarray],
) -> None:
    """Float within 1e-4 of the output's range, quantized within two steps."""
    steps = last_step(folder / "model.onnx")
    for spec in built.outputs:
        want = expected[spec.name].astype(np.float64)
        worst = float(np.abs(outputs[spec.name].astype(np.float64) - want).max())
        bound = 2 * steps[spec.name] if spec.name in steps else 1e-4 * float(np.ptp(want) or 1.0)
        if worst > bound * (1 + 1e-6):
            raise ValueError(f"{folder.name}: {spec.name} is off by {worst:g}, allowed {bound:g}")


def geometric_mean(values: Sequence[float]) -> float:
    """NaN of nothing."""
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def render(rows: Sequence[dict[str, Any]]) -> str:
    """A table for each model, then the geometric means of the ratios by core."""
    lines, rule = [], "|" + "---|" * len(COLUMNS)
    for model in dict.fromkeys(row["model"] for row in rows):
        lines += [f"### {model}", "", "| " + " | ".join(COLUMNS) + " |", rule]
        lines += [_line(row) for row in rows if row["model"] == model] + [""]
    lines += ["### Geometric means of the ratios", ""]
    lines += [
        "| core | models | default | records | largest with records |",
        "|---|---|---|---|---|",
    ]
    for core in dict.fromkeys(row["core"] for row in rows):
        for label, quantized in (("float", False), ("int8", True)):
            group = [
                row
                for row in rows
                if row["core"] == core and row["model"].endswith("_qdq") == quantized
            ]
            if not group:
                continue
            means = [
                geometric_mean([r[k] / r["peer"] for r in group]) for k in ("default", "records")
            ]
            largest = max(group, key=lambda row: row["records"] / row["peer"])
            share = largest["records"] / largest["peer"]
            lines.append(
                f"| {core} | {label} | {means[0]:.3f} | {means[1]:.3f} "
                f"| {share:.2f} ({largest['model']}) |"
            )
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    cells = (
        row["core"],
        f"{row['macs'] / 1e6:.2f}",
        f"{row['default']:,.1f}",
        f"{row['records']:,.1f}",
        f"{1e3 * row['records'] / row['macs']:.3f}",
        f"{row['peer']:,}",
        f"{row['records'] / row['peer']:.2f}",
        row["by_record"],
        f"{row['arena']:,}",
    )
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Parse arguments, count, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--models", default=",".join(PEERS))
    parser.add_argument("--cores", default="cortex-a53,cortex-a55,cortex-a72,cortex-a76,i8mm")
    parser.add_argument("--tuning-records", default="shipped")
    parser.add_argument("--markdown", type=Path)
    given = parser.parse_args()
    index = json.loads((given.zoo / "INDEX.json").read_text(encoding="utf-8"))["models"]
    entries = {entry["name"]: entry for entry in index}
    rows = []
    for model in given.models.split(","):
        for core in given.cores.split(","):
            with tempfile.TemporaryDirectory(prefix="fpc-arm64-") as scratch:
                folder = given.zoo / "models" / model
                records = given.tuning_records
                row = measure(folder, entries[model], core, records, Path(scratch))
            rows.append(row)
            print(f"{model:24}", _line(row), flush=True)
    text = render(rows)
    print(text)
    if given.markdown:
        given.markdown.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
