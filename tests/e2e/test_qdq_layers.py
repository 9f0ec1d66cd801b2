"""Random quantized layers: nothing in float, within a step of real arithmetic, same everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import footprint_compiler as fpc
from footprint_compiler import runners
from footprint_compiler.validation.exact import ExactModel
from tests.e2e.qdq_layers import random_layers

SEEDS = (1, 2)


def _build(seed: int, target: str, folder: Path) -> fpc.Artifact:
    path = folder / "layers.onnx"
    onnx.save(random_layers(seed).model(), path)
    options = fpc.BuildOptions(name="layers", solve_nodes=0)
    return fpc.build(path, target=target, options=options, out=folder / target)


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> dict[int, fpc.Artifact]:
    return {seed: _build(seed, "native", tmp_path_factory.mktemp("layers")) for seed in SEEDS}


@pytest.mark.parametrize("seed", SEEDS)
def test_within_one_step_of_real_arithmetic(native: dict[int, fpc.Artifact], seed: int) -> None:
    net = random_layers(seed)
    model = net.model()
    assert native[seed].manifest["float_islands"] == []
    assert native[seed].manifest["integer_macs"] == native[seed].manifest["macs"]
    exact = ExactModel(model).run([output.name for output in model.graph.output], net.inputs)
    with fpc.load(native[seed]) as loaded:
        got = loaded.run(net.inputs)
    for name, want in exact.items():
        steps = np.abs(got[name].astype(np.int64) - want.astype(np.int64))
        assert steps.max() <= 1, name
        assert name.removesuffix("_q") in net.interpolated or (steps > 0).mean() < 0.1, name
        assert want.size == 1 or len(np.unique(want)) > 1, name


@pytest.mark.parametrize("target", ["arm64", "armv7", "cortex-m4"])
def test_same_bytes_everywhere(
    needs_emulator, native: dict[int, fpc.Artifact], tmp_path: Path, target: str
) -> None:
    needs_emulator(target)
    seed = SEEDS[0]
    net = random_layers(seed)
    net.model()
    results = runners.run(_build(seed, target, tmp_path), net.inputs).outputs
    with fpc.load(native[seed]) as loaded:
        expected = loaded.run(net.inputs)
    for name, array in expected.items():
        assert results[name].tobytes() == array.tobytes(), name
