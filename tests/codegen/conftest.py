from __future__ import annotations

from pathlib import Path

import pytest

from footprint_compiler.artifact import Artifact

from .samples import emit


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The sample program, built once for x86-64; tests must not change it."""
    folder: Path = tmp_path_factory.mktemp("artifact")
    return emit(folder / "net")
