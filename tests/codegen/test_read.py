from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from footprint_compiler.artifact import Artifact
from footprint_compiler.codegen.read import open_artifact
from footprint_compiler.codegen.tar import make_tar
from footprint_compiler.errors import ArtifactError

from .samples import sample_program


@pytest.fixture
def copy(artifact: Artifact, tmp_path: Path) -> Path:
    return Path(shutil.copytree(artifact.path, tmp_path / "copy"))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_reading_gives_what_was_written(artifact: Artifact, copy: Path) -> None:
    read = open_artifact(copy)
    program = sample_program()
    assert (read.name, read.target) == ("net", "x86-64")
    assert read.inputs == program.inputs
    assert read.outputs == program.outputs
    assert read.manifest == artifact.manifest
    assert open_artifact(str(copy)) == read
    assert read.library == copy / "libnet.so"
    assert read.header == copy / "net.h"


@pytest.mark.parametrize("name", ["libnet.so", "libnet.a", "net.h", "plan.json", "plan.csv"])
def test_a_changed_cut_or_missing_file_is_named(copy: Path, name: str) -> None:
    data = (copy / name).read_bytes()
    for damaged in (data[:-1], b"", data[:8] + bytes([data[8] ^ 1]) + data[9:]):
        (copy / name).write_bytes(damaged)
        with pytest.raises(ArtifactError, match=f"{name} has changed"):
            open_artifact(copy)
    (copy / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        open_artifact(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(format="zip"),
        lambda m: m.update(abi_version=99),
        lambda m: m.pop("files"),
        lambda m: m.pop("sha256"),
        lambda m: m["files"].pop("library"),
        lambda m: m["files"].update(library="../copy/libnet.so"),
        lambda m: m.pop("inputs"),
        lambda m: m["inputs"].append(3),
        lambda m: m["inputs"][0].update(dtype="float33"),
        lambda m: m["inputs"][0].update(shape=[1, -64]),
        lambda m: m["inputs"][0].update(shape=[1, 65]),
        lambda m: m["inputs"][0].update(shape="wide"),
        lambda m: m.update(outputs=None),
        lambda m: m.pop("name"),
    ],
)
def test_a_damaged_manifest_is_refused(
    copy: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    edit(copy, change)
    with pytest.raises(ArtifactError):
        open_artifact(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00", "[" * 100_000])
def test_a_manifest_that_is_no_json_object_is_refused(copy: Path, text: str) -> None:
    (copy / "manifest.json").write_text(text)
    with pytest.raises(ArtifactError):
        open_artifact(copy)
    (copy / "manifest.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ArtifactError):
        open_artifact(copy)


def test_what_is_no_artifact_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="does not exist"):
        open_artifact(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match="has no manifest"):
        open_artifact(tmp_path)
    (tmp_path / "file").write_text("hello")
    with pytest.raises(ArtifactError, match="not an artifact"):
        open_artifact(tmp_path / "file")


def test_tar_files_that_reach_outside_or_are_damaged_are_refused(
    tmp_path: Path, artifact: Artifact
) -> None:
    files = {path.name: path.read_bytes() for path in artifact.path.iterdir()}
    whole = make_tar("net", files)
    (tmp_path / "whole.tar").write_bytes(whole)
    assert open_artifact(tmp_path / "whole.tar").manifest == artifact.manifest
    for cut in (100, len(whole) // 2):
        (tmp_path / "cut.tar").write_bytes(whole[:cut])
        with pytest.raises(ArtifactError):
            open_artifact(tmp_path / "cut.tar")
    (tmp_path / "outside.tar").write_bytes(make_tar("..", files))
    with pytest.raises(ArtifactError):
        open_artifact(tmp_path / "outside.tar")
    assert not (tmp_path / "manifest.json").exists()
    many = make_tar("net", {f"{index}": b"" for index in range(1000)})
    (tmp_path / "many.tar").write_bytes(many)
    with pytest.raises(ArtifactError, match="1000 members"):
        open_artifact(tmp_path / "many.tar")
    with tarfile.open(tmp_path / "device.tar", "w") as tar:
        info = tarfile.TarInfo("net/manifest.json")
        info.type = tarfile.CHRTYPE
        tar.addfile(info)
    with pytest.raises(ArtifactError):
        open_artifact(tmp_path / "device.tar")
