"""fpc, the footprint compiler: ONNX in, a small C library with a static memory plan out.

    import footprint_compiler as fpc

    artifact = fpc.build("model.onnx", target="native")
    model = fpc.load(artifact)
    outputs = model.run({"x": array})

Everything is imported on first use, because TVM alone takes seconds to load.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from footprint_compiler.artifact import Artifact
    from footprint_compiler.build import build
    from footprint_compiler.codegen.read import open_artifact
    from footprint_compiler.errors import FpcError
    from footprint_compiler.options import BuildOptions
    from footprint_compiler.progress import Reporter
    from footprint_compiler.runtime.loader import load

    __version__: str

__all__ = [
    "Artifact",
    "BuildOptions",
    "FpcError",
    "Reporter",
    "__version__",
    "build",
    "load",
    "open_artifact",
]

_HOME = {
    "Artifact": "artifact",
    "BuildOptions": "options",
    "FpcError": "errors",
    "Reporter": "progress",
    "build": "build",
    "load": "runtime.loader",
    "open_artifact": "codegen.read",
}


class _Package(ModuleType):
    """Keeps ``fpc.build`` the function when the import system binds the module of that name."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in _HOME and isinstance(value, ModuleType):
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> object:
    """Import a public name from its module on first use (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        return version("footprint-compiler")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
