"""What a run touches against what the manifest states: painted arena, guards and stack.

The run itself checks the guards beside the arena and that the stack stays within its figure
(``runners/protocol.py``); here is the other side, that the figures are not too large.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import footprint_compiler as fpc
from footprint_compiler import runners
from footprint_compiler.artifact import Artifact
from footprint_compiler.runners.machine import machine_of
from footprint_compiler.runners.qemu import run_painted
from tests.codegen.linked import check_flash

MOST_LOOSE = 1.15
TARGETS = [
    *("x86-64", "x86-64-v3", "arm64", "armv7", "cortex-m0plus", "cortex-m3", "cortex-m4"),
    *("cortex-m7", "cortex-m33", "cortex-m55"),
]


def check(artifact: Artifact, inputs: dict[str, np.ndarray]) -> None:
    machine = machine_of(artifact)
    if machine.runner.kind == "local":
        found = run_painted(artifact, machine, inputs)
    else:
        found = runners.run(artifact, inputs, count=True)
    ram = artifact.manifest["footprint"]["ram"]
    assert found.stack_bytes_used is not None
    assert found.stack_bytes_used <= ram["stack_bytes"] <= MOST_LOOSE * found.stack_bytes_used
    # The last byte of the arena is used by a tensor that ends at the peak, or is padding.
    touched, peak = found.arena_bytes_touched, artifact.manifest["plan"]["peak_bytes"]
    assert touched is not None
    assert touched <= peak <= ram["arena_bytes"] < peak + artifact.manifest["arena"]["align_bytes"]
    assert touched > 0.9 * peak


@pytest.mark.parametrize("target", TARGETS)
def test_the_example_uses_what_is_stated(
    build_of: Callable[[str], Path],
    needs_emulator: Callable[[str], None],
    sample: Path,
    target: str,
) -> None:
    needs_emulator(target)
    artifact = fpc.open_artifact(build_of(target))
    with np.load(sample) as data:
        check(artifact, {name: data[name] for name in data.files})


@pytest.mark.parametrize("target", TARGETS)
def test_the_example_takes_the_flash_that_is_stated(
    build_of: Callable[[str], Path], tmp_path: Path, target: str
) -> None:
    check_flash(fpc.open_artifact(build_of(target)), tmp_path)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("kws01_dscnn_qdq", "cortex-m0plus"),
        ("kws01_dscnn_qdq", "armv7"),
        ("ad01_autoencoder_qdq", "cortex-m4"),
    ],
)
def test_integer_models_use_what_is_stated(
    zoo: Path,
    needs_emulator: Callable[[str], None],
    tmp_path: Path,
    name: str,
    target: str,
) -> None:
    needs_emulator(target)
    model = zoo / "models" / name
    artifact = fpc.build(model / "model.onnx", target, fpc.BuildOptions(name="m"), tmp_path / "m")
    with np.load(model / "io.npz") as data:
        inputs = {key.split("::")[1]: data[key] for key in data.files if key.startswith("in0::")}
    check(artifact, inputs)
