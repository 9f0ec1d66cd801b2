"""What all tests share: real models beside the clone, golden files, reproducible hypothesis."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]
ZOO = ROOT.parent / "shared" / "zoo"
GOLDEN = ROOT / "tests" / "golden"

settings.register_profile(
    "fpc",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("fpc")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts its background jobs so; the programs under test would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write the golden files instead of comparing"
    )


@pytest.fixture(scope="session")
def zoo() -> Path:
    """The folder of real models; the test is skipped where it is absent."""
    if not (ZOO / "INDEX.json").is_file():
        pytest.skip("the folder ../shared/zoo with real models is not beside this clone")
    return ZOO


@pytest.fixture(scope="session")
def digits() -> Path:
    """The example's model, which is part of the project."""
    return ROOT / "examples" / "digits" / "digits.onnx"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """``golden(name, text)``: text must equal ``tests/golden/<name>``, or replaces it."""

    def check(name: str, text: str) -> None:
        file = GOLDEN / name
        if request.config.getoption("--update-golden"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            return
        assert file.is_file(), f"no golden file {name}; run pytest --update-golden"
        assert text == file.read_text(encoding="utf-8"), f"{name} differs; see --update-golden"

    return check


@pytest.fixture(scope="session")
def fpc() -> Callable[..., Result]:
    """``fpc(*arguments)`` runs one command, 100 columns wide, and returns click's result."""
    from footprint_compiler.cli.main import cli

    runner = CliRunner(env={"COLUMNS": "100"})
    return lambda *arguments: runner.invoke(cli, [str(a) for a in arguments])


@pytest.fixture
def needs_emulator() -> Callable[[str], None]:
    """``needs_emulator(target)`` skips the test, with the reason, where nothing can run it."""

    def check(target: str) -> None:
        from footprint_compiler.runners import available
        from footprint_compiler.targets import load_target

        runs, missing = available(load_target(target))
        if not runs:
            pytest.skip(missing)

    return check
