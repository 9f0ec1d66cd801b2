"""Builds of the example to pack, and the compilers that stand in for a user's own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

import footprint_compiler as fpc
from footprint_compiler.artifact import Artifact
from footprint_compiler.package.contents import Contents, Label, gather
from footprint_compiler.package.vectors import Vector
from footprint_compiler.runners import available, run
from footprint_compiler.samples import random_samples
from footprint_compiler.targets import load_target

ZIG = f"{sys.executable} -m ziglang cc -fno-sanitize=all"


@pytest.fixture(scope="session")
def build_for(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Callable[..., Artifact]:
    """``build_for(target, weights="flash")``: the example built for it, once."""

    @cache
    def build(target: str, weights: str = "flash") -> Artifact:
        folder = tmp_path_factory.mktemp("build") / "digits"
        options = fpc.BuildOptions(name="digits", weights=weights)
        return fpc.build(digits, target, options, folder)

    return build


@pytest.fixture(scope="session")
def contents_for(build_for: Callable[..., Artifact]) -> Callable[..., Contents]:
    """``contents_for(target)``: with two test vectors; skips without the target's emulator."""

    @cache
    def contents(target: str, weights: str = "flash") -> Contents:
        runs, missing = available(load_target(target))
        if not runs:
            pytest.skip(missing)
        artifact = build_for(target, weights)
        samples = random_samples(artifact.inputs, 2, seed=1)
        vectors = [Vector(sample, dict(run(artifact, sample).outputs)) for sample in samples]
        return gather(artifact, Label(author="A Name <name@example.com>"), vectors)

    return contents
