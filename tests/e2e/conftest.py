"""Builds of the example, one per target and session."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def build_of(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Callable[[str], Path]:
    """``build_of(target)``: the folder of the example built for it."""
    folder = tmp_path_factory.mktemp("builds")

    @cache
    def build(target: str) -> Path:
        import footprint_compiler as fpc

        options = fpc.BuildOptions(name="digits")
        return fpc.build(digits, target=target, options=options, out=folder / target).path

    return build


@pytest.fixture(scope="session")
def native(build_of: Callable[[str], Path]) -> Path:
    """The example built for this machine."""
    return build_of("native")


@pytest.fixture
def sample() -> Path:
    """One image for `fpc run`."""
    return ROOT / "examples" / "digits" / "in.npz"


@pytest.fixture
def held_out() -> Path:
    """All images that the network was not trained on, with labels."""
    return ROOT / "examples" / "digits" / "digits_eval.npz"
