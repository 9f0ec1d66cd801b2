"""Builds one damaged model after another; its parent watches for death and silence.

Reads a path per line, writes one JSON object per line: exit code, stderr, and for a model that
builds and that ONNX Runtime runs as well, whether both compute the same.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from footprint_compiler.cli.main import cli
from footprint_compiler.errors import ModelFileError
from footprint_compiler.runtime.loader import load
from footprint_compiler.samples import random_samples
from footprint_compiler.validate import onnxruntime_reference, validate


def examine(model: Path) -> dict[str, object]:
    """Build one model through the command line."""
    out = model.with_suffix("")
    result = CliRunner().invoke(cli, ["-q", "build", str(model), "-o", str(out), "--name", "m"])
    report: dict[str, object] = {"code": result.exit_code, "stderr": result.stderr, "same": None}
    if result.exit_code == 0:
        report["same"] = same_numbers(model, out)
    report["left"] = sorted(path.name for path in model.parent.iterdir() if path.name[0] == ".")
    return report


def same_numbers(model: Path, out: Path) -> bool | None:
    """Whether the build agrees with ONNX Runtime; None where that refuses the model."""
    with load(out) as built:
        try:
            reference = onnxruntime_reference(model, built.outputs)
            samples = list(random_samples(built.inputs, 2, seed=0))
            with np.errstate(all="ignore"):
                report = validate(built.run, reference, samples, built.outputs, tolerance=1e-3)
        except ModelFileError:
            return None
    return report.passed


def main() -> None:
    """Answer until stdin ends."""
    for line in sys.stdin:
        print(json.dumps(examine(Path(line.strip()))), flush=True)


if __name__ == "__main__":
    main()
