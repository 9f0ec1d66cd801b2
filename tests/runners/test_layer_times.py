"""Time per kernel, and the peak that a speed is held against, on a small build for this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import footprint_compiler as fpc
from footprint_compiler.errors import ArtifactError
from footprint_compiler.options import BuildOptions
from footprint_compiler.runners import rates
from footprint_compiler.runners.layer_times import kernel_symbols, time_layers
from footprint_compiler.samples import read_samples

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    out = tmp_path_factory.mktemp("build") / "digits"
    return fpc.build(DIGITS / "digits.onnx", "native", BuildOptions(name="digits"), out)


@pytest.fixture(scope="module")
def sample(artifact):
    return read_samples(DIGITS / "in.npz", artifact.inputs).samples[0]


def test_every_kernel_has_a_time(artifact, sample):
    times = time_layers(artifact, sample, repeats=20)
    named = {str(row["kernel"]) for row in artifact.manifest["layers"]}
    assert {one.kernel for one in times if one.layers} <= named
    assert {one.kernel for one in times} <= set(kernel_symbols(artifact))
    assert all(one.calls > 0 and one.min_us >= 0 for one in times)
    assert sum(one.min_us for one in times) > 0


def test_times_leave_the_artifact_alone(artifact, sample):
    before = {path.name: path.read_bytes() for path in artifact.path.iterdir()}
    time_layers(artifact, sample, repeats=1)
    assert {path.name: path.read_bytes() for path in artifact.path.iterdir()} == before
    with fpc.load(artifact) as model:
        assert np.isfinite(model.run(sample)["probabilities"]).all()


def test_without_a_symbol_table_there_are_no_kernels(artifact, tmp_path):
    for path in artifact.path.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "libdigits.a").write_bytes(b"!<arch>\n")
    with pytest.raises(ArtifactError, match="no symbol table"):
        kernel_symbols(replace(artifact, path=tmp_path))


def test_a_speed_and_its_part_of_the_peak(artifact):
    found = rates(artifact, 10.0)
    macs = artifact.manifest["macs"]
    assert found["gmacs_per_s"] == pytest.approx(macs / 10.0 / 1000.0, abs=0.01)
    assert found["peak_gmacs"] > 1
    assert 0 < found["peak_percent"] < 100
    assert rates(artifact, 0.0) == {}
