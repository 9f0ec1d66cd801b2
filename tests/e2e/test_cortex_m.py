"""The zoo on each Cortex-M: quantized outputs equal to the host's, to the bit, and their cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import footprint_compiler as fpc
from footprint_compiler import runners
from tests.e2e.zoo import zoo_models

#: (model, core, most instructions: 0.6 of TFLM's with CMSIS-NN, 0.8 on Cortex-M55; most code bytes)
CASES = [
    ("kws01_dscnn_qdq", "cortex-m33", 4_608_000, 12_288),
    ("ic01_resnet8_qdq", "cortex-m4", 17_917_000, 12_288),
    ("vww01_mobilenetv1_qdq", "cortex-m7", 8_408_000, 12_288),
    ("sww01_streaming_qdq", "cortex-m55", 326_000, 12_288),
    ("ad01_autoencoder_qdq", "cortex-m0plus", 1_057_000, 12_288),
    ("micro_speech_qdq", "cortex-m3", None, 12_288),
]


@pytest.mark.parametrize(("name", "target", "most", "code"), CASES)
def test_same_bytes_within_bounds(
    zoo: Path,
    needs_emulator: Callable[[str], None],
    name: str,
    target: str,
    most: int | None,
    code: int,
    tmp_path: Path,
) -> None:
    needs_emulator(target)
    (model,) = (model for model in zoo_models() if model.name == name)
    sample, _ = next(model.samples())
    host = fpc.build(model.path, target="x86-64", out=tmp_path / "host")
    built = fpc.build(model.path, target=target, out=tmp_path / "board")
    expected = runners.run(host, sample).outputs
    found = runners.run(built, sample, count=True)
    for output, array in expected.items():
        np.testing.assert_array_equal(found.outputs[output], array)
    assert built.manifest["footprint"]["flash"]["code_bytes"] <= code
    assert found.instructions is not None
    assert most is None or found.instructions <= most


def test_float_within_bounds(
    zoo: Path, needs_emulator: Callable[[str], None], tmp_path: Path
) -> None:
    needs_emulator("cortex-m4")
    (model,) = (model for model in zoo_models() if model.name == "kws01_dscnn")
    sample, outputs = next(model.samples())
    built = fpc.build(model.path, target="cortex-m4", out=tmp_path / "board")
    found = runners.run(built, sample, count=True)
    for output, array in outputs.items():
        np.testing.assert_allclose(found.outputs[output], array, atol=1e-6)
    assert built.manifest["footprint"]["flash"]["code_bytes"] <= 6_144
    assert found.instructions is not None
    assert found.instructions <= 6_700_000
