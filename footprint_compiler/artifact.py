"""A finished build on disk, as read back by run, plan, validate and bench."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from footprint_compiler.tensor import TensorSpec


@dataclass(frozen=True)
class Artifact:
    """A build folder: library, header, manifest and plan.

    Attributes:
        path: the folder.
        name: C identifier, prefix of every public symbol.
        target: canonical name of the target.
        inputs, outputs: as in the model.
        manifest: the parsed ``manifest.json``.
    """

    path: Path
    name: str
    target: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    manifest: Mapping[str, Any]

    @property
    def library(self) -> Path:
        """The shared (.so) or static (.a) library."""
        return self.path / str(self.manifest["files"]["library"])

    @property
    def header(self) -> Path:
        """The C header."""
        return self.path / f"{self.name}.h"
