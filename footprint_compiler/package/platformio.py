"""A PlatformIO library: ``library.json`` and a script that links the archive.

Source of the keys: PlatformIO's documentation of ``library.json``. LIBPATH and LIBS that a
library's script adds reach the program that uses it.
"""

from __future__ import annotations

import json

from footprint_compiler.package.contents import Contents
from footprint_compiler.package.text import render


def platformio_files(contents: Contents) -> dict[str, bytes]:
    """Path in the package -> bytes."""
    name, label = contents.name, contents.label
    author = {"name": label.author_name}
    if label.author_mail:
        author["email"] = label.author_mail
    library = {
        "name": name.replace("_", "-").strip("-"),
        "version": label.version,
        "description": contents.summary[:255],
        "keywords": ["machine learning", "neural network", "inference"],
        "authors": [author],
        **({"license": label.licence} if label.licence else {}),
        **({"homepage": label.url} if label.url else {}),
        "frameworks": "*",
        "platforms": "*" if contents.machine.is_bare_metal else ["native"],
        "headers": f"{name}.h",
        "build": {"includeDir": "include", "srcDir": "src", "extraScript": "link.py"},
        "examples": [
            {"name": f"{name}_check", "base": "example", "files": sorted(contents.example)}
        ],
    }
    return {
        **contents.common(),
        "library.json": (json.dumps(library, indent=2) + "\n").encode(),
        "link.py": render("link.py.j2", name=name, libm=contents.libm, machine=contents.machine),
        f"include/{name}.h": contents.header,
        f"src/{name}_build.c": render("build.c.j2", name=name),
        f"lib/{contents.archive_name}": contents.archive,
        **{f"example/{file}": data for file, data in contents.example.items()},
    }
