"""Artifacts on this machine: results, times, and a refusal where the CPU lacks something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from footprint_compiler import runners
from footprint_compiler.artifact import Artifact
from footprint_compiler.build import build
from footprint_compiler.errors import EXIT_DEVICE, InputDataError, RunnerError, UsageError
from footprint_compiler.targets import host, load_target

HERE = host.host_architecture() == "x86_64"
needs_x86 = pytest.mark.skipif(not HERE, reason="this machine is not x86-64")


@pytest.fixture(scope="module")
def artifact(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The example model for any x86-64."""
    return build(digits, "x86-64", out=tmp_path_factory.mktemp("local") / "digits")


@pytest.fixture(scope="module")
def inputs(artifact: Artifact) -> dict[str, np.ndarray]:
    spec = artifact.inputs[0]
    return {spec.name: np.random.default_rng(3).random(spec.shape, np.float32)}


@needs_x86
def test_the_same_numbers_here_and_in_an_emulator(
    artifact: Artifact, inputs: dict[str, np.ndarray], digits: Path, tmp_path: Path
) -> None:
    here = runners.run(artifact, inputs)
    assert (here.instructions, here.stack_bytes_used) == (None, None)
    ok, missing = runners.available(load_target("arm64"))
    if not ok:
        pytest.skip(missing)
    there = runners.run(build(digits, "arm64", out=tmp_path / "digits"), inputs)
    for name, value in here.outputs.items():
        np.testing.assert_allclose(there.outputs[name], value, rtol=0, atol=1e-5)


@needs_x86
def test_times(artifact: Artifact, inputs: dict[str, np.ndarray]) -> None:
    found = runners.bench(artifact, inputs, repeats=20, warmup=2)
    assert found.repeats == 20
    assert found.threads == 1
    assert found.instructions is None
    assert found.min_us is not None
    assert found.median_us is not None
    assert found.p99_us is not None
    assert 0 < found.min_us <= found.median_us <= found.p99_us
    assert runners.bench(artifact, inputs, max_seconds=0.0).repeats == 3


@needs_x86
def test_what_is_refused(artifact: Artifact, inputs: dict[str, np.ndarray]) -> None:
    with pytest.raises(UsageError, match="counted in an emulator"):
        runners.run(artifact, inputs, count=True)
    with pytest.raises(InputDataError):
        runners.run(artifact, {})
    with pytest.raises(InputDataError):
        runners.bench(artifact, {})


@needs_x86
def test_a_cpu_without_the_features_is_named(
    artifact: Artifact, inputs: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "host_flags", lambda: frozenset({"cmov", "pni", "avx2", "fma"}))
    ok, missing = runners.available(load_target("x86-64-v4"))
    assert not ok
    assert "avx512f" in missing
    assert "avx2," not in missing
    assert runners.available(load_target("x86-64")) == (True, "")
    monkeypatch.setattr(host, "host_flags", lambda: frozenset({"pni"}))
    with pytest.raises(RunnerError, match="this CPU lacks cmov") as caught:
        runners.run(artifact, inputs)
    assert caught.value.exit_code == EXIT_DEVICE


def test_another_architecture_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("footprint_compiler.runners.local.host_architecture", lambda: "riscv64")
    ok, missing = runners.available(load_target("x86-64-v3"))
    assert not ok
    assert "this machine is riscv64, the code is x86_64" in missing
