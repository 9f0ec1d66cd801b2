"""Models that break a guarantee, devices that fail, tools that are missing: each by its name."""

from __future__ import annotations

import dataclasses
import errno
import shutil
from pathlib import Path

import numpy as np
import pytest

from footprint_compiler import runners
from footprint_compiler.artifact import Artifact
from footprint_compiler.errors import (
    EXIT_DEVICE,
    EXIT_TOOLCHAIN,
    ArtifactError,
    InputDataError,
    OutputError,
    RunnerError,
    ToolchainError,
    UsageError,
)
from footprint_compiler.targets import load_target
from tests.runners.conftest import MakeArtifact
from tests.runners.handmade import demo_input

BOTH = pytest.mark.parametrize("name", ["cortex-m4", "arm64"])
DEEP = "volatile char b[3000]; for (int i = 0; i < 3000; i++) b[i] = i; y[0] = b[17];"


def refused(artifact: Artifact, **options: object) -> str:
    with pytest.raises(RunnerError) as caught:
        runners.run(artifact, demo_input(), **options)
    assert caught.value.exit_code == EXIT_DEVICE
    assert "\n" not in caught.value.message
    return caught.value.message


@BOTH
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("arena[192] = (unsigned char)~arena[192];", "0 guard bytes below and 1 above"),
        ("arena[-1] = (unsigned char)~arena[-1];", "1 guard bytes below and 0 above"),
        (DEEP, "its manifest promises 512"),
        ("static int n; y[0] = n++;", "two runs on the same inputs"),
    ],
    ids=["above", "below", "stack", "state"],
)
def test_broken_guarantees(name: str, body: str, words: str, artifact_for: MakeArtifact) -> None:
    assert words in refused(artifact_for(name, body), count=True)


@BOTH
def test_a_deep_stack_is_measured(name: str, artifact_for: MakeArtifact) -> None:
    found = runners.run(artifact_for(name, DEEP, stack_bytes=3200), demo_input())
    assert found.stack_bytes_used is not None
    assert 3000 <= found.stack_bytes_used <= 3200


@BOTH
def test_init_that_fails(name: str, artifact_for: MakeArtifact) -> None:
    assert "init returned 3" in refused(artifact_for(name, init_result=3))


@BOTH
def test_a_fault(name: str, artifact_for: MakeArtifact) -> None:
    message = refused(artifact_for(name, "*(volatile int *)0xfffffff0u = 1;"))
    assert ("fault: exception" in message) == (name == "cortex-m4")
    assert ("SIGSEGV" in message) == (name == "arm64")


@BOTH
def test_a_model_that_never_ends(name: str, artifact_for: MakeArtifact) -> None:
    endless = artifact_for(name, 'for (;;) __asm__ volatile("");')
    assert "did not end within 2 s" in refused(endless, timeout_s=2.0)


def test_illegal_instructions_of_a_larger_core_are_seen(artifact_for: MakeArtifact) -> None:
    artifact = artifact_for("arm64", '__asm__ volatile(".inst 0x4e829420");')
    assert "SIGILL" in refused(artifact)


def test_a_model_larger_than_the_board(artifact_for: MakeArtifact) -> None:
    artifact = artifact_for("cortex-m4")
    manifest = {**artifact.manifest}
    manifest["footprint"] = {
        "ram": {"arena_bytes": 32 * 1024 * 1024, "stack_bytes": 512},
        "flash": {"code_bytes": 2048, "weights_bytes": 64},
    }
    message = refused(dataclasses.replace(artifact, manifest=manifest))
    assert "mps2-an386" in message
    assert "arena needs 33555456 bytes" in message


def test_a_machine_without_startup_code(artifact_for: MakeArtifact) -> None:
    message = refused(artifact_for("cortex-m4", machine="netduino2"))
    assert "'netduino2'" in message
    assert "mps2-an386" in message


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "'x'"),
        ({"x": np.zeros(16, np.float32), "z": np.zeros(1)}, "'z'"),
        ({"x": np.zeros(15, np.float32)}, r"\(15,\)"),
        ({"x": np.zeros(16, np.float64)}, "float64"),
        ({"x": np.full(16, np.nan, np.float32)}, "NaN"),
    ],
)
def test_inputs_that_do_not_fit(
    inputs: dict[str, np.ndarray], words: str, artifact_for: MakeArtifact
) -> None:
    with pytest.raises(InputDataError, match=words):
        runners.run(artifact_for("arm64"), inputs)


def test_nan_is_allowed_when_asked(artifact_for: MakeArtifact) -> None:
    inputs = {"x": np.full(16, np.nan, np.float32)}
    found = runners.run(artifact_for("arm64"), inputs, allow_nan=True)
    assert np.isnan(found.outputs["y"]).all()


@BOTH
def test_a_missing_emulator_names_its_package(
    name: str, artifact_for: MakeArtifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = artifact_for(name)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ToolchainError) as caught:
        runners.run(artifact, demo_input())
    assert caught.value.exit_code == EXIT_TOOLCHAIN
    package = "qemu-user" if name == "arm64" else "qemu-system-arm"
    assert f"apt-get install {package}" in caught.value.remedy
    ok, missing = runners.available(load_target(name))
    assert not ok
    assert f"apt-get install {package}" in missing


def test_no_place_for_temporary_files(
    artifact_for: MakeArtifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = artifact_for("arm64")
    runners.run(artifact, demo_input())

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left on device") as caught:
        runners.run(artifact, demo_input())
    assert "TMPDIR" in caught.value.remedy


def test_files_that_are_missing(tmp_path: Path, artifact_for: MakeArtifact) -> None:
    artifact = artifact_for("arm64")
    for gone in ("libdemo.a", "demo.h"):
        copy = tmp_path / gone
        shutil.copytree(artifact.path, copy)
        (copy / gone).unlink()
        with pytest.raises(ArtifactError, match=gone):
            runners.run(dataclasses.replace(artifact, path=copy), demo_input())


def test_a_manifest_without_a_runner(artifact_for: MakeArtifact) -> None:
    artifact = artifact_for("arm64")
    manifest = {key: value for key, value in artifact.manifest.items() if key != "runner"}
    with pytest.raises(ArtifactError, match="runner"):
        runners.run(dataclasses.replace(artifact, manifest=manifest), demo_input())


def test_unknown_counter_and_repeats(artifact_for: MakeArtifact) -> None:
    artifact = artifact_for("arm64")
    with pytest.raises(UsageError, match="'perf'"):
        runners.run(artifact, demo_input(), count=True, counter="perf")
    with pytest.raises(UsageError, match="0 repeats"):
        runners.bench(artifact, demo_input(), repeats=0)
