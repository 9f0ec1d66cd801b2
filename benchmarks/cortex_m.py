"""The MLPerf Tiny int8 models on every Cortex-M, beside TensorFlow Lite Micro with CMSIS-NN.

    python benchmarks/cortex_m.py ZOO -o benchmarks/results/cortex-m.md
    python benchmarks/cortex_m.py ZOO --models kws,ic --targets cortex-m4 --optimize-for size,speed

ZOO is laid out as for ``zoo.py``. Each model is built for each target and goal, run in QEMU on its
first stored sample with traps on unaligned accesses, and compared bit for bit with the build for
the host. A row: executed instructions of one inference, their ratio to TFLM's, bytes of code and of
its constants, of weights, of the arena and of the stack as stated, instructions of ``NAME_init``;
for Cortex-M4 and M7 also the cycles that a stated model of the core estimates (``fpc bench
--layers``) and, for M4, the best published count.

TFLM's instructions: tflite-micro of August 2026 with its pinned CMSIS-NN, gcc 12.2, kernels -O2,
int8-only registrations, in QEMU 7.2 on the same boards and models, of one ``Invoke``. Published
cycles: mlcommons/tiny results, closed division, MHz divided by inferences per second, the least of
the submissions on STM32L4R5.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
from zoo import samples

import footprint_compiler as fpc
from footprint_compiler import runners
from footprint_compiler.artifact import Artifact
from footprint_compiler.codegen.machine_code import read_functions
from footprint_compiler.options import BuildOptions
from footprint_compiler.runners.profile import profile

MODELS = {
    "kws": "kws01_dscnn_qdq",
    "ic": "ic01_resnet8_qdq",
    "vww": "vww01_mobilenetv1_qdq",
    "ad": "ad01_autoencoder_qdq",
    "sww": "sww01_streaming_qdq",
}
TFLM = {
    "cortex-m0plus": (29_000_152, 97_556_939, 86_904_030, 1_763_119, 9_547_961),
    "cortex-m3": None,
    "cortex-m4": (7_698_255, 29_863_139, 24_101_545, 582_853, 2_227_472),
    "cortex-m7": (7_644_040, 30_026_156, 24_025_160, 583_162, 2_188_562),
    "cortex-m33": (7_680_559, 29_962_341, 24_046_383, 583_312, 2_221_406),
    "cortex-m55": (1_814_736, 4_911_984, 6_558_396, 285_498, 408_046),
}
TFLM_CODE_M4 = {"kws": 52_592, "ic": 50_364, "vww": 52_592, "ad": 27_240, "sww": 50_024}
BEST_CYCLES_M4 = {"kws": 5.18e6, "ic": 19.8e6, "vww": 10.7e6, "ad": 0.486e6, "sww": 2.15e6}
GOALS = ("size", "balanced", "speed", "ram")
COLUMNS = (
    *("model", "target", "for", "same", "instructions", "of TFLM", "code", "constants"),
    *("weights", "arena", "stack", "init", "cycles", "best known"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--targets", default=",".join(TFLM))
    parser.add_argument("--optimize-for", default=",".join(GOALS))
    parser.add_argument("--wait-states", type=int, default=0, help="of the flash, for the cycles")
    parser.add_argument("-o", "--out", type=Path, help="file for the table; else it is printed")
    args = parser.parse_args()
    lines = []
    for line in table(args):
        print(line, flush=True)
        lines.append(line)
    if args.out is not None:
        args.out.write_text("\n".join([*introduction(args.wait_states), *lines]) + "\n")


def introduction(wait_states: int) -> list[str]:
    """What a reader of the table has to know."""
    command = ["qemu-system-arm", "--version"]
    qemu = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    tools = f"{qemu.splitlines()[0]}; TVM {version('apache-tvm')}; zig {version('ziglang')}"
    code = ", ".join(f"{model} {size:,}" for model, size in TFLM_CODE_M4.items())
    return [
        "# MLPerf Tiny int8 models on Cortex-M",
        "",
        "`python benchmarks/cortex_m.py ZOO -o benchmarks/results/cortex-m.md` makes this file.",
        f"{tools}.",
        "",
        "One inference each, executed in QEMU on the first stored sample, with traps on unaligned",
        "accesses. `same`: all outputs equal those of the build for x86-64, bit for bit.",
        "`of TFLM`: executed instructions relative to tflite-micro (August 2026) with CMSIS-NN,",
        f"gcc 12.2 -O2, on the same board; its code bytes on M4, without the model: {code}.",
        "Bytes of `code`, of `constants` that come with it, of `weights`, of the `arena` (with",
        "inputs and outputs), and the worst case of the `stack`. `init`: instructions of",
        "`NAME_init`.",
        f"`cycles`: by a stated model of the core with {wait_states} wait states, an estimate;",
        "`best known`: the least cycles published for a Cortex-M4 (mlcommons/tiny, closed).",
        "Cortex-M0+ code runs on an emulated Cortex-M3, of whose instructions it uses a subset.",
        "",
    ]


def table(args: argparse.Namespace) -> Iterator[str]:
    """The lines of the table, one build after the other."""
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "|" + "---|" * 4 + "---:|" * (len(COLUMNS) - 4)
    for model in args.models.split(","):
        folder = args.zoo / "models" / MODELS[model]
        inputs, _ = samples(folder)[0]
        with tempfile.TemporaryDirectory() as scratch:
            host = fpc.build(folder / "model.onnx", "x86-64", out=Path(scratch) / "host")
            expected = runners.run(host, inputs).outputs
            for target in args.targets.split(","):
                for goal in args.optimize_for.split(","):
                    options = BuildOptions(name="model", optimize_for=goal)
                    out = Path(scratch) / f"{target}-{goal}"
                    built = fpc.build(folder / "model.onnx", target, options, out)
                    cells = [model, target, goal, *row(model, target, built, inputs, expected)]
                    cells += cycles(model, target, built, inputs, args.wait_states)
                    yield "| " + " | ".join(cells) + " |"


def row(
    model: str,
    target: str,
    built: Artifact,
    inputs: dict[str, np.ndarray],
    expected: dict[str, np.ndarray],
) -> list[str]:
    """The cells of one build, without cycles."""
    result = runners.run(built, inputs, count=True)
    same = all(np.array_equal(result.outputs[name], array) for name, array in expected.items())
    theirs = TFLM[target]
    assert result.instructions is not None
    ratio = result.instructions / theirs[list(MODELS).index(model)] if theirs else None
    ram, flash = built.manifest["footprint"]["ram"], built.manifest["footprint"]["flash"]
    return [
        "yes" if same else "NO",
        f"{result.instructions:,}",
        "" if ratio is None else f"{ratio:.3f}",
        f"{flash['code_bytes']:,}",
        f"{flash['constants_bytes']:,}",
        f"{flash['weights_bytes']:,}",
        f"{ram['arena_bytes']:,}",
        f"{ram['stack_bytes']:,}",
        str(init_instructions(built)),
    ]


def init_instructions(built: Artifact) -> int:
    """Instructions of ``NAME_init``, which has no loop: at most so many are executed."""
    library = (built.path / built.manifest["files"]["static_library"]).read_bytes()
    functions = [one for member in members(library) for one in read_functions(member)]
    return next(len(one.instructions) for one in functions if one.name == f"{built.name}_init")


def members(archive: bytes) -> list[bytes]:
    """The ELF objects of a static library in System V format."""
    found, at = [], len(b"!<arch>\n")
    while at < len(archive):
        size = int(archive[at + 48 : at + 58])
        found.append(archive[at + 60 : at + 60 + size])
        at += 60 + size + size % 2
    return [data for data in found if data.startswith(b"\x7fELF")]


def cycles(
    model: str, target: str, built: Artifact, inputs: dict[str, np.ndarray], wait_states: int
) -> list[str]:
    """Estimated cycles, and for Cortex-M4 the best published ones."""
    if target not in ("cortex-m4", "cortex-m7"):
        return ["", ""]
    found = [share.cycles for share in profile(built, inputs, wait_states=wait_states)]
    total = sum(count for count in found if count is not None)
    best = BEST_CYCLES_M4[model] if target == "cortex-m4" else None
    return [f"{total:,}" if total else "", f"{best:,.0f}" if best else ""]


if __name__ == "__main__":
    main()
