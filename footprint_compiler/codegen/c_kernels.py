"""The kernels of a model that are C, compiled into one object."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from footprint_compiler.codegen.toolchain import find_toolchain
from footprint_compiler.kernels.c.kernel import CKernel
from footprint_compiler.kernels.c.source import render_source
from footprint_compiler.targets import Target

_SOURCE = "kernels.c"


def compile_c_kernels(
    kernels: Mapping[str, CKernel], target: Target, cc: str | None, small: bool = False
) -> list[bytes]:
    """One ELF object that defines ``kernels`` under their symbols; none without kernels.

    ``small`` asks for little code rather than for speed.

    Raises:
        ToolchainError: the compiler is missing or fails.
    """
    if not kernels:
        return []
    with tempfile.TemporaryDirectory(prefix="fpc-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / _SOURCE).write_text(render_source(kernels, small), encoding="utf-8")
        return [find_toolchain(target, cc, folder, small).compile(_SOURCE)]
