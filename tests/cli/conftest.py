"""Calls of the program inside the test's process."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from footprint_compiler.cli.main import cli

Fpc = Callable[..., Result]


@pytest.fixture
def fpc() -> Fpc:
    """``fpc(*arguments)`` runs one command, 100 columns wide, and returns click's result."""
    runner = CliRunner(env={"COLUMNS": "100"})
    return lambda *arguments: runner.invoke(cli, [str(a) for a in arguments])
