"""Artifacts for the runner tests: compiled once per session; skipped without the emulator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from footprint_compiler import runners
from footprint_compiler.artifact import Artifact
from footprint_compiler.targets import load_target
from tests.runners.handmade import GOOD, make_artifact

MakeArtifact = Callable[..., Artifact]


@pytest.fixture(scope="session")
def artifact_for(tmp_path_factory: pytest.TempPathFactory) -> MakeArtifact:
    """``artifact_for(target, body, **options)``: see ``make_artifact``; skips without emulator."""
    made: dict[tuple[Any, ...], Artifact] = {}

    def make(target: str, body: str = GOOD, **options: Any) -> Artifact:
        ok, missing = runners.available(load_target(target))
        if not ok:
            pytest.skip(missing)
        key = (target, body, *sorted(options.items()))
        if key not in made:
            folder: Path = tmp_path_factory.mktemp("artifact") / "demo"
            made[key] = make_artifact(folder, target, body, **options)
        return made[key]

    return make
