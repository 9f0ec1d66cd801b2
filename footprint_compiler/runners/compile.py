"""Compile the harness with zig, for the machine that an artifact was built for."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from footprint_compiler.errors import ToolchainError
from footprint_compiler.runners.cache import cache_folder

#: Folder of the C sources: this package.
SOURCES = Path(__file__).parent

TIMEOUT_S = 600.0


def zig_version() -> str:
    """Version of the package ``ziglang``.

    Raises:
        ToolchainError: it is not installed.
    """
    if importlib.util.find_spec("ziglang") is None:
        raise ToolchainError(
            "the compiler for the harness (Python package ziglang) is not installed",
            "Run `pip install ziglang`.",
        )
    return version("ziglang")


def run_zig(arguments: Sequence[str | Path], folder: Path) -> None:
    """Run ``zig ARGUMENTS`` in ``folder``; its local cache stays there.

    Raises:
        ToolchainError: zig is missing, fails, or takes longer than ``TIMEOUT_S``.
    """
    zig_version()
    env = {**os.environ, "ZIG_LOCAL_CACHE_DIR": str(folder / "zig-local")}
    env.setdefault("ZIG_GLOBAL_CACHE_DIR", str(cache_folder().parent / "zig"))
    command = [sys.executable, "-m", "ziglang", *map(str, arguments)]
    try:
        result = subprocess.run(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolchainError(f"zig took more than {TIMEOUT_S:g} s") from error
    if result.returncode != 0:
        raise ToolchainError(f"zig {arguments[0]} failed: {first_error(result.stderr)}")


def first_error(text: str) -> str:
    """The line of a compiler's or linker's output that says what is wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    wrong = [line for line in lines if "error" in line]
    return (wrong or lines or ["no message"])[0]
