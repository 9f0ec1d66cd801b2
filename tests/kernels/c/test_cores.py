"""Every C kernel on every kind of core, bit for bit, with guards around what it may write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from footprint_compiler import runners
from footprint_compiler.targets import load_target
from tests.kernels.c.board import is_in_parts, run_layers
from tests.kernels.c.layers import LAYERS, Layer, Product, Sum

CORES = [
    ("cortex-m0plus", "balanced"),
    ("cortex-m0plus", "size"),
    ("cortex-m3", "balanced"),
    ("cortex-m4", "balanced"),
    ("cortex-m4", "size"),
    ("cortex-m4", "speed"),
    ("cortex-m55", "balanced"),
    ("esp32-c3", "balanced"),
    ("esp32-c3", "size"),
]


@pytest.fixture(scope="module", params=CORES, ids=" ".join)
def found(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, np.ndarray]:
    target, goal = request.param
    ok, missing = runners.available(load_target(target))
    if not ok:
        pytest.skip(missing)
    folder: Path = tmp_path_factory.mktemp("kernels")
    return run_layers(LAYERS, target, goal, folder)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_layer(found: dict[str, np.ndarray], layer: Layer | Sum) -> None:
    if layer.name not in found:
        assert found
        assert isinstance(layer, Product) or is_in_parts(layer)
        return
    np.testing.assert_array_equal(found[layer.name], layer.result)
