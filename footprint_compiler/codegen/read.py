"""An artifact, read back from its folder or tar file and checked for damage."""

from __future__ import annotations

import atexit
import hashlib
import json
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from footprint_compiler.artifact import Artifact
from footprint_compiler.codegen.entry import ABI_VERSION
from footprint_compiler.codegen.manifest import BUNDLE_FORMAT, FORMAT, MANIFEST
from footprint_compiler.errors import ArtifactError
from footprint_compiler.tensor import DTYPE_BYTES, TensorSpec

_MOST_MEMBERS = 64


def open_artifact(path: str | Path) -> Artifact:
    """The artifact at ``path``: a folder, or a tar file, which is unpacked for this process.

    Raises:
        ArtifactError: it is missing, incomplete, damaged, or of another version of fpc.
    """
    path = Path(path)
    try:
        folder = path if path.is_dir() else _unpack(path)
        manifest = _read_manifest(folder, path)
        _check_files(folder, path, manifest)
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        return Artifact(
            path=folder,
            name=str(manifest["name"]),
            target=str(manifest["target"]),
            inputs=tuple(_spec(entry) for entry in manifest["inputs"]),
            outputs=tuple(_spec(entry) for entry in manifest["outputs"]),
            manifest=manifest,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path}: the manifest is damaged: {error!r}") from error


def _read_manifest(folder: Path, shown: Path) -> Mapping[str, Any]:
    file = folder / MANIFEST
    if not file.is_file():
        raise ArtifactError(f"{shown} is not an artifact: it has no {MANIFEST}")
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{shown}: {MANIFEST} is damaged: {error}") from error
    if isinstance(manifest, dict) and manifest.get("format") == BUNDLE_FORMAT:
        names = ", ".join(str(model["artifact"]) for model in manifest.get("models", ()))
        raise ArtifactError(f"{shown} holds several models", f"Name one of them: {names}.")
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ArtifactError(f"{shown}: {MANIFEST} is not one of fpc")
    if manifest.get("abi_version") != ABI_VERSION:
        raise ArtifactError(
            f"{shown} has ABI version {manifest.get('abi_version')}, this fpc reads {ABI_VERSION}"
        )
    return manifest


def _check_files(folder: Path, shown: Path, manifest: Mapping[str, Any]) -> None:
    """Every file must be as it was written: a cut library would crash the process that loads it."""
    hashes, files = manifest.get("sha256"), manifest.get("files")
    if not isinstance(hashes, dict) or not isinstance(files, dict):
        raise ArtifactError(f"{shown}: {MANIFEST} does not list its files")
    if not {"library", "static_library", "header"} <= files.keys():
        raise ArtifactError(f"{shown}: {MANIFEST} names no library or header")
    for name in sorted({*files.values()} - {MANIFEST}):
        file = folder / str(name)
        if file.parent != folder or not file.is_file():
            raise ArtifactError(f"{shown}: {name} is missing")
        with file.open("rb") as stream:
            actual = hashlib.file_digest(stream, "sha256").hexdigest()
        if actual != hashes.get(name):
            raise ArtifactError(f"{shown}: {name} has changed since it was built")


def _spec(entry: Mapping[str, Any]) -> TensorSpec:
    shape = tuple(int(size) for size in entry["shape"])
    if entry["dtype"] not in DTYPE_BYTES or any(size < 0 for size in shape):
        raise ValueError(f"{entry['dtype']} {shape}")
    spec = TensorSpec(
        str(entry["name"]), shape, entry["dtype"], entry.get("scale"), entry.get("zero_point")
    )
    if spec.size_bytes != entry["bytes"]:
        raise ValueError(f"{spec.name} has {entry['bytes']} bytes")
    return spec


def _unpack(path: Path) -> Path:
    """Unpacks into a temporary folder that goes away with the process."""
    if not path.exists():
        raise ArtifactError(f"{path} does not exist")
    target = Path(tempfile.mkdtemp(prefix="fpc-"))
    atexit.register(shutil.rmtree, target, ignore_errors=True)
    try:
        with tarfile.open(path, mode="r:") as tar:
            members = tar.getmembers()
            if len(members) > _MOST_MEMBERS:
                raise ArtifactError(f"{path} is not an artifact: it has {len(members)} members")
            tar.extractall(target, members, filter="data")
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise ArtifactError(f"{path} is not an artifact: {error}") from error
    folders = [folder for folder in target.iterdir() if folder.is_dir()]
    return folders[0] if len(folders) == 1 else target
