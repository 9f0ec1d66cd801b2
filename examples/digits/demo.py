"""Build the digits example for this machine, arm64 and Cortex-M4; run, compare and show each.

usage: python examples/digits/demo.py        (what `make demo` calls)

Prints every command before it runs, so that each line can be repeated by hand. A target whose
emulator is not installed is still built; the demo then says how to install it and goes on.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from footprint_compiler.runners import available
from footprint_compiler.targets import load_target

ROOT = Path(__file__).resolve().parents[2]
MODEL = "examples/digits/digits.onnx"
SAMPLE = "examples/digits/in.npz"
HELD_OUT = "examples/digits/digits_eval.npz"
TARGETS = ("native", "arm64", "cortex-m4")


def fpc(*arguments: str) -> None:
    """Print and run one command; a failure ends the demo."""
    print(f"\n$ fpc {shlex.join(arguments)}", flush=True)
    code = subprocess.call(
        [sys.executable, "-m", "footprint_compiler.cli.main", *arguments], cwd=ROOT
    )
    if code:
        sys.exit(code)


def main() -> None:
    """Run the demo."""
    os.environ.setdefault("COLUMNS", "100")
    not_run = []
    for target in TARGETS:
        build = f"build/demo/{target}"
        fpc("build", MODEL, "--target", target, "--name", "digits", "-o", build)
        if target == TARGETS[0]:
            fpc("plan", build)
        runs_here, missing = available(load_target(target))
        if not runs_here:
            not_run.append(f"{target}: {missing}")
            continue
        fpc("run", build, "-i", SAMPLE, "-o", f"{build}.npz")
        # All 360 held-out images here; one where every image starts an emulator.
        images = HELD_OUT if target == TARGETS[0] else SAMPLE
        fpc("validate", build, "--model", MODEL, "-i", images)
    print(f"\nBuilt for {', '.join(TARGETS)}; the libraries are in build/demo/.")
    for line in not_run:
        print(f"built but not run: {line}")


if __name__ == "__main__":
    main()
