"""The MLPerf Tiny int8 models on the RISC-V cores of the ESP32-C3, C6 and P4.

    python benchmarks/riscv.py ZOO -o benchmarks/results/riscv.md

ZOO is laid out as for ``zoo.py``. Each model is built for each target and goal, run in QEMU on its
first stored sample with the address of every load and store checked, and compared bit for bit with
the build for the host. A row: executed instructions of one inference, these by multiply-accumulate,
bytes of code and of its constants, of weights, of the arena, of the stack as stated and as painted
memory shows it, instructions of ``NAME_init``.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
from cortex_m import MODELS, init_instructions
from zoo import samples

import footprint_compiler as fpc
from footprint_compiler import runners
from footprint_compiler.options import BuildOptions

BUILDS = (
    ("esp32-c3", "size"),
    ("esp32-c3", "balanced"),
    ("esp32-c3", "speed"),
    ("esp32-c3", "ram"),
    ("esp32-c6", "balanced"),
    ("esp32-p4", "balanced"),
)
COLUMNS = (
    *("model", "target", "for", "same", "instructions", "per MAC", "code", "constants"),
    *("weights", "arena", "stack", "used", "init"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("-o", "--out", type=Path, help="file for the table; else it is printed")
    args = parser.parse_args()
    lines = []
    for line in table(args.zoo, args.models.split(",")):
        print(line, flush=True)
        lines.append(line)
    if args.out is not None:
        args.out.write_text("\n".join([*introduction(), *lines]) + "\n")


def introduction() -> list[str]:
    """What a reader of the table has to know."""
    command = ["qemu-riscv32", "--version"]
    qemu = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    tools = f"{qemu.splitlines()[0]}; TVM {version('apache-tvm')}; zig {version('ziglang')}"
    return [
        "# MLPerf Tiny int8 models on RISC-V",
        "",
        "`python benchmarks/riscv.py ZOO -o benchmarks/results/riscv.md` makes this file.",
        f"{tools}.",
        "",
        "One inference each, executed in QEMU's user mode on the first stored sample; a plugin",
        "finds no access that is not aligned. `same`: all outputs equal those of the build for",
        "x86-64, bit for bit. Bytes of `code`, of `constants` that come with it, of `weights`, of",
        "the `arena` (with inputs and outputs), and of the worst case of the `stack`, with what",
        "painted memory showed as `used`. `init`: instructions of `NAME_init`. No board was used:",
        "instructions are not cycles.",
        "",
    ]


def table(zoo: Path, models: list[str]) -> Iterator[str]:
    """The lines of the table, one build after the other."""
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "|" + "---|" * 4 + "---:|" * (len(COLUMNS) - 4)
    for model in models:
        folder = zoo / "models" / MODELS[model]
        inputs, _ = samples(folder)[0]
        with tempfile.TemporaryDirectory() as scratch:
            host = fpc.build(folder / "model.onnx", "x86-64", out=Path(scratch) / "host")
            expected = runners.run(host, inputs).outputs
            for target, goal in BUILDS:
                out = Path(scratch) / f"{target}-{goal}"
                options = BuildOptions(name="model", optimize_for=goal)
                built = fpc.build(folder / "model.onnx", target, options, out)
                result = runners.run(built, inputs, count=True)
                assert result.instructions is not None
                same = all(np.array_equal(result.outputs[key], a) for key, a in expected.items())
                footprint = built.manifest["footprint"]
                ram, flash = footprint["ram"], footprint["flash"]
                numbers = [
                    *(flash["code_bytes"], flash["constants_bytes"], flash["weights_bytes"]),
                    *(ram["arena_bytes"], ram["stack_bytes"], result.stack_bytes_used),
                    init_instructions(built),
                ]
                cells = [model, target, goal, "yes" if same else "NO", f"{result.instructions:,}"]
                cells += [f"{result.instructions / built.manifest['macs']:.2f}"]
                yield "| " + " | ".join([*cells, *(f"{number:,}" for number in numbers)]) + " |"


if __name__ == "__main__":
    main()
