"""Every C kernel on every kind of core, bit for bit, with guards around what it may write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from footprint_compiler import runners
from footprint_compiler.targets import load_target
from tests.kernels.c.board import run_layers
from tests.kernels.c.layers import LAYERS


@pytest.fixture(scope="module", params=["cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m55"])
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    ok, missing = runners.available(load_target(request.param))
    if not ok:
        pytest.skip(missing)
    folder: Path = tmp_path_factory.mktemp("kernels")
    return run_layers(LAYERS, request.param, folder)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_layer(found: dict[str, np.ndarray], layer) -> None:
    np.testing.assert_array_equal(found[layer.name], layer.result)
