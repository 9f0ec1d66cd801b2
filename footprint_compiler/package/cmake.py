"""A CMake package in config mode with one imported target, ``NAME::NAME``."""

from __future__ import annotations

from footprint_compiler.package.contents import Contents
from footprint_compiler.package.make import usual_tree
from footprint_compiler.package.text import render


def cmake_files(contents: Contents) -> dict[str, bytes]:
    """Path in the package -> bytes."""
    name = contents.name
    values = {
        "name": name,
        "upper": name.upper(),
        "machine": contents.machine,
        "label": contents.label,
        "needs": ["m"] * contents.libm + ["-pthread"] * contents.threads,
        "archive": contents.archive_name,
        "sources": sorted(file for file in contents.example if file.endswith(".c")),
    }
    folder = f"lib/cmake/{name}"
    return {
        **contents.common(),
        **usual_tree(contents),
        f"{folder}/{name}Config.cmake": render("Config.cmake.j2", **values),
        f"{folder}/{name}ConfigVersion.cmake": render("ConfigVersion.cmake.j2", **values),
        "example/CMakeLists.txt": render("example.CMakeLists.txt.j2", **values),
    }
