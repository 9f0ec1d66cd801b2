"""An Arduino library with a precompiled archive and an example sketch, for Cortex-M.

Source of the folders and keys: the Arduino library specification; a precompiled archive lies in
``src/<core>`` and, for cores with an FPU, in a folder below
named after ``-mfpu`` and the float ABI.
"""

from __future__ import annotations

from footprint_compiler.errors import UsageError
from footprint_compiler.package.contents import Contents
from footprint_compiler.package.text import render


def arduino_files(contents: Contents) -> dict[str, bytes]:
    """Path in the package -> bytes.

    Raises:
        UsageError: the build is not for a Cortex-M.
    """
    name, machine = contents.name, contents.machine
    if not machine.is_cortex_m:
        raise UsageError(
            f"fpc packs Arduino libraries for Cortex-M, the build is for "
            f"{contents.artifact.target}",
            "Build for a Cortex-M.",
        )
    folder = f"src/{machine.core}"
    if machine.float_abi == "hard":
        folder += f"/{machine.fpu or 'auto'}-hard"
    values = {
        "name": name,
        "label": contents.label,
        "summary": contents.summary,
        "libm": contents.libm,
        "url": contents.label.url or f"https://example.com/{name}",
    }
    example = dict(contents.example)
    del example["main.c"]
    sketch = f"examples/{name}_check"
    return {
        **contents.common(),
        "library.properties": render("library.properties.j2", **values),
        f"src/{name}.h": contents.header,
        f"{folder}/{contents.archive_name}": contents.archive,
        f"{sketch}/{name}_check.ino": render("sketch.ino.j2", **values),
        **{f"{sketch}/{file}": data for file, data in example.items()},
    }
