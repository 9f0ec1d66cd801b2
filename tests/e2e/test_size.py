"""``--optimize-for size``: much less code, the same numbers, on every kind of target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import footprint_compiler as fpc
from footprint_compiler import runners
from tests.e2e.qdq_layers import Net, random_layers

#: Target -> most code of the example, relative to that of a balanced build.
CODE = {"x86-64": 0.3, "cortex-m0plus": 0.3, "cortex-m4": 0.7}


def _build(model: Path, target: str, goal: str, folder: Path) -> fpc.Artifact:
    options = fpc.BuildOptions(name="model", optimize_for=goal, solve_nodes=0)
    return fpc.build(model, target=target, options=options, out=folder / f"{target}-{goal}")


def _code(artifact: fpc.Artifact) -> int:
    return int(artifact.manifest["footprint"]["flash"]["code_bytes"])


@pytest.mark.parametrize("target", sorted(CODE))
def test_float_model(
    digits: Path, needs_emulator: Callable[[str], None], tmp_path: Path, target: str
) -> None:
    needs_emulator(target)
    with np.load(digits.parent / "in.npz") as data:
        inputs = dict(data)
    builds = [_build(digits, target, goal, tmp_path) for goal in ("balanced", "size")]
    assert _code(builds[1]) <= CODE[target] * _code(builds[0])
    balanced, small = (runners.run(build, inputs).outputs["probabilities"] for build in builds)
    np.testing.assert_allclose(small, balanced, rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Net, dict[str, np.ndarray]]:
    """Random quantized layers, and what a balanced build of them computes here."""
    folder = tmp_path_factory.mktemp("layers")
    net = random_layers(1)
    onnx.save(net.model(), folder / "layers.onnx")
    built = _build(folder / "layers.onnx", "x86-64", "balanced", folder)
    return folder / "layers.onnx", net, runners.run(built, net.inputs).outputs


@pytest.mark.parametrize("target", ["arm64", "cortex-m4"])
def test_quantized_layers_keep_every_bit(
    layers: tuple[Path, Net, dict[str, np.ndarray]],
    needs_emulator: Callable[[str], None],
    tmp_path: Path,
    target: str,
) -> None:
    needs_emulator(target)
    path, net, expected = layers
    found = runners.run(_build(path, target, "size", tmp_path), net.inputs).outputs
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
