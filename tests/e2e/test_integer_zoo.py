"""Quantized models that nobody here wrote: in integers, near their references, same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import footprint_compiler as fpc
from footprint_compiler import runners
from footprint_compiler.frontend import import_model
from footprint_compiler.output_scales import output_scales
from footprint_compiler.passes.base import PassContext, run_passes
from footprint_compiler.passes.name_float_islands import float_islands
from footprint_compiler.passes.pipeline import layout_phase
from tests.e2e.zoo import ZooModel, zoo_models
from tests.passes.evaluate import evaluate

MODELS = {
    model.name: model for model in zoo_models() if model.name.endswith(("_qdq", "_qoperator"))
}
ABSENT = ["(the zoo is absent)"]
SMALL = sorted(name for name, model in MODELS.items() if model.macs < 5_000_000) or ABSENT
"""The others take long to build; ``test_zoo`` compares them too, with its own bounds."""

STEPS = {"micro_kws_m_qdq": 2}
"""Largest difference in steps of the output. There the reference departs from exact arithmetic by
as much, because its sums are in float32 (see ``test_equals_exact_arithmetic``)."""

PORTABLE = "kws01_dscnn_qdq"
"""Convolutions, depthwise convolutions, an average pool, a product and a Softmax."""


def _build(model: ZooModel, target: str, folder: Path) -> fpc.Artifact:
    options = fpc.BuildOptions(name="model", shapes=model.shapes, constants=model.constants)
    return fpc.build(model.path, target=target, options=options, out=folder / target)


@pytest.mark.parametrize("name", sorted(MODELS) or ABSENT)
def test_nothing_stays_in_float(zoo: Path, name: str) -> None:
    model = MODELS[name]
    module = import_model(model.path, model.shapes, model.constants).module
    module = run_passes(module, layout_phase(), PassContext(None))
    assert float_islands(module) == []


@pytest.mark.parametrize("name", SMALL if SMALL == ABSENT else sorted({*SMALL, *STEPS}))
def test_near_the_stored_reference(zoo: Path, tmp_path: Path, name: str) -> None:
    model = MODELS[name]
    artifact = _build(model, "native", tmp_path)
    manifest = artifact.manifest
    assert manifest["integer_macs"] >= 0.99 * manifest["macs"] > 0
    scales = output_scales(model.path)
    with fpc.load(artifact) as loaded:
        for inputs, outputs in model.samples():
            results = loaded.run(inputs)
            for key, reference in outputs.items():
                got = results[key].astype(np.float64)
                step = scales[key] if reference.dtype.kind == "f" else 1.0
                steps = np.abs(got - reference.astype(np.float64)) / step
                assert np.rint(steps).max() <= STEPS.get(name, 1)
                assert got.argmax() == reference.argmax()


@pytest.mark.parametrize("name", sorted(STEPS))
def test_equals_exact_arithmetic(zoo: Path, tmp_path: Path, name: str) -> None:
    """In float64, where the stored reference is more than one step away."""
    model = MODELS[name]
    graph = import_model(model.path, model.shapes, model.constants)
    (scale,) = output_scales(model.path).values()
    with fpc.load(_build(model, "native", tmp_path)) as loaded:
        for inputs, _ in model.samples():
            (got,) = loaded.run(inputs).values()
            (exact,) = evaluate(graph.module, [inputs[spec.name] for spec in graph.inputs])
            assert np.abs(np.rint((got - exact) / scale)).max() <= 1


@pytest.fixture(scope="module")
def native_bytes(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Outputs of ``PORTABLE`` for its first three samples, computed here."""
    folder = tmp_path_factory.mktemp("integer")
    return _outputs(_build(MODELS[PORTABLE], "native", folder), 3)


def _outputs(artifact: fpc.Artifact, count: int) -> list[bytes]:
    samples = [inputs for inputs, _ in MODELS[PORTABLE].samples()][:count]
    results = [runners.run(artifact, inputs).outputs for inputs in samples]
    return [array.tobytes() for result in results for array in result.values()]


@pytest.mark.parametrize("target", ["x86-64", "x86-64-v3", "arm64", "cortex-m4"])
def test_same_bytes_everywhere(
    zoo: Path, needs_emulator, native_bytes: list[bytes], tmp_path: Path, target: str
) -> None:
    needs_emulator(target)
    assert len(set(native_bytes)) > 1
    assert _outputs(_build(MODELS[PORTABLE], target, tmp_path), 3) == native_bytes
