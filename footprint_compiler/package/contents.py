"""What every package holds, whatever its form: library, header, facts, notices and an example."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from footprint_compiler.artifact import Artifact
from footprint_compiler.errors import ArtifactError, UsageError
from footprint_compiler.package.compilers import Machine, machine_of
from footprint_compiler.package.text import render
from footprint_compiler.package.vectors import Vector, example_files

_VERSION = re.compile(r"\d+\.\d+\.\d+")
_AUTHOR = re.compile(r"(?P<name>[^<>\n]+?)\s*(?:<(?P<mail>[^<>\s]+@[^<>\s]+)>)?")


@dataclass(frozen=True)
class Label:
    """What a package says of itself.

    Attributes:
        version: three numbers.
        author: ``Name`` or ``Name <mail>``.
        url: home page, which some registries ask for; may be empty.
        licence: SPDX identifier of the model's own licence; empty when not stated.
    """

    version: str = "1.0.0"
    author: str = "unnamed"
    url: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        if not _VERSION.fullmatch(self.version):
            raise UsageError(
                f"the version {self.version!r} is not three numbers", "Give one such as 1.0.0."
            )
        if not _AUTHOR.fullmatch(self.author):
            raise UsageError(
                f"the author {self.author!r} is not a name", "Write it as 'Name <name@host>'."
            )
        if any(not text.isprintable() or '"' in text for text in (self.url, self.licence)):
            raise UsageError("the URL or the licence has a quote or a control character")

    @property
    def author_name(self) -> str:
        """Without the mail address."""
        found = _AUTHOR.fullmatch(self.author)
        return found["name"] if found else self.author

    @property
    def author_mail(self) -> str:
        """Empty when none was given."""
        found = _AUTHOR.fullmatch(self.author)
        return (found["mail"] or "") if found else ""


@dataclass(frozen=True)
class Contents:
    """The parts from which each form arranges its own folders.

    Attributes:
        artifact: the build.
        machine: as other compilers name it.
        label: see there.
        libm: the library calls functions of libm, so that ``-lm`` is needed.
        threads: it starts threads, so that ``-pthread`` is needed (not with every C library).
        archive: bytes of the static library.
        header: bytes of the C header.
        facts: file name -> bytes of manifest, plan and, with external weights, their file.
        example: file name -> bytes of a program that runs the model on the test vectors.
        notice: licence notices.
    """

    artifact: Artifact
    machine: Machine
    label: Label
    libm: bool
    threads: bool
    archive: bytes
    header: bytes
    facts: dict[str, bytes]
    example: dict[str, bytes]
    notice: bytes

    @property
    def name(self) -> str:
        """Of the artifact, a C identifier."""
        return self.artifact.name

    @property
    def archive_name(self) -> str:
        """File name of the library."""
        return f"lib{self.name}.a"

    @property
    def summary(self) -> str:
        """One line for registries."""
        sizes = self.artifact.manifest["footprint"]
        ram, flash = sizes["ram"]["total_bytes"], sizes["flash"]["total_bytes"]
        return (
            f"Neural network {self.name} for {self.artifact.target}: {ram} B RAM, {flash} B flash"
        )

    def common(self) -> dict[str, bytes]:
        """Files that lie at the top of every form."""
        return {**self.facts, "NOTICE.txt": self.notice}


def gather(artifact: Artifact, label: Label, vectors: Sequence[Vector]) -> Contents:
    """Read the parts of an artifact.

    Args:
        artifact: a finished build.
        label: what the package says of itself.
        vectors: inputs with the outputs that they must give; the example checks them.

    Raises:
        ArtifactError: a part is missing, the artifact has several arenas, or its weights are copied
            to RAM or paged.
    """
    if artifact.manifest.get("more_arenas"):
        raise ArtifactError(
            f"{artifact.path} has arenas in several pools, and packages bind one",
            "Build it without --pools, or with one name.",
        )
    if artifact.manifest["weights"]["mode"] == "ram":
        raise ArtifactError(
            f"{artifact.path} copies its weights to RAM, which packages do not",
            "Build it with --weights flash or extern.",
        )
    if artifact.manifest["weights"]["mode"] == "paged":
        raise ArtifactError(
            f"{artifact.path} pages its weights by callbacks, which packages do not have",
            "Build it with --weights flash or extern.",
        )
    files = artifact.manifest["files"]
    archive = _read(artifact.path / str(files["static_library"]))
    facts = {name: _read(artifact.path / name) for name in ("manifest.json", "plan.json")}
    extern = artifact.manifest["weights"]["mode"] == "extern"
    weights = _read(artifact.path / f"{artifact.name}.weights.bin") if extern else None
    if weights is not None:
        facts[f"{artifact.name}.weights.bin"] = weights
    return Contents(
        artifact=artifact,
        machine=machine_of(artifact),
        label=label,
        libm=bool(artifact.manifest["externals"]["libm"]),
        threads=bool(artifact.manifest["externals"].get("threads")),
        archive=archive,
        header=_read(artifact.header),
        facts=facts,
        example=example_files(artifact, vectors, weights),
        notice=render(
            "NOTICE.txt.j2", artifact=artifact, label=label, machine=machine_of(artifact)
        ),
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
