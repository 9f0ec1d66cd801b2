"""Models that nobody here wrote, against their stored references: here, on arm64, on Cortex-M4."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import footprint_compiler as fpc
from footprint_compiler import runners
from footprint_compiler.output_scales import output_scales
from footprint_compiler.samples import Sample
from footprint_compiler.validate import compare
from tests.e2e.zoo import ZooModel, zoo_models

MODELS = {model.name: model for model in zoo_models()}
REFUSED = {"tree_ensemble_skl"}
EXACT = {"micro_kws_m_qdq"}
"""Held to exact arithmetic, and to equal classes, by ``test_integer_zoo`` instead: its average
pools over 2x2 codes give halves, and which way those went in the stored reference was decided by
the rounding of float32."""
SMALL_MACS = 5_000_000
CORTEX_M4 = ("ad01_autoencoder", "digits_mlp_sklearn", "kws01_dscnn", "micro_speech_qdq")
ABSENT = ["(the zoo is absent)"]

BUILT = sorted(MODELS.keys() - REFUSED) or ABSENT
SMALL = sorted(n for n in MODELS.keys() - REFUSED if MODELS[n].macs < SMALL_MACS) or ABSENT


def build(model: ZooModel, target: str, folder: Path) -> fpc.Artifact:
    """Build one model of the zoo."""
    options = fpc.BuildOptions(name="model", shapes=model.shapes, constants=model.constants)
    return fpc.build(model.path, target=target, options=options, out=folder / target)


def first_sample(model: ZooModel) -> Sample:
    """The inputs of the first stored sample."""
    return next(iter(model.samples()))[0]


@pytest.mark.parametrize("name", BUILT)
def test_matches_the_stored_reference(zoo, tmp_path, name):
    if name in EXACT:
        pytest.skip(
            "compared with exact arithmetic in test_integer_zoo: float32 decides its halves"
        )
    model = MODELS[name]
    artifact = build(model, "native", tmp_path)
    scales = output_scales(model.path)
    stored = list(model.samples())
    with fpc.load(artifact) as loaded:
        results = [loaded.run(inputs, allow_nan=True) for inputs, _ in stored]
    for spec in artifact.outputs:
        reference = np.stack([outputs[spec.name] for _, outputs in stored])
        got = np.stack([result[spec.name] for result in results])
        report = compare(replace(spec, scale=scales.get(spec.name)), got, reference)
        assert report.passed, report


@pytest.mark.parametrize("name", SMALL)
def test_arm64_computes_what_the_host_computes(zoo, needs_emulator, tmp_path, name):
    needs_emulator("arm64")
    compare_with_host(MODELS[name], "arm64", tmp_path)


@pytest.mark.parametrize("name", CORTEX_M4)
def test_cortex_m4_computes_what_the_host_computes(zoo, needs_emulator, tmp_path, name):
    needs_emulator("cortex-m4")
    compare_with_host(MODELS[name], "cortex-m4", tmp_path)


def compare_with_host(model: ZooModel, target: str, folder: Path) -> None:
    """Outputs of one sample, both built from the same file."""
    sample = first_sample(model)
    here, there = build(model, "native", folder), build(model, target, folder)
    expected = runners.run(here, sample).outputs
    got = runners.run(there, sample).outputs
    scales = output_scales(model.path)
    for spec in here.outputs:
        spec = replace(spec, scale=scales.get(spec.name))
        report = compare(spec, got[spec.name][None], expected[spec.name][None])
        assert report.passed, report


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_cannot_be_compiled_is_refused_by_name(zoo, tmp_path, name):
    with pytest.raises(fpc.FpcError) as refused:
        build(MODELS[name], "native", tmp_path)
    assert refused.value.id == "FPC-E012"
    assert "TreeEnsembleClassifier" in str(refused.value.nodes)
    assert list(tmp_path.iterdir()) == []
