"""Plain Make: ``include/``, ``lib/``, ``example/`` and one Makefile."""

from __future__ import annotations

from footprint_compiler.package.contents import Contents
from footprint_compiler.package.text import render


def make_files(contents: Contents) -> dict[str, bytes]:
    """Path in the package -> bytes."""
    makefile = render(
        "Makefile.j2",
        name=contents.name,
        machine=contents.machine,
        libm=contents.libm,
        threads=contents.threads,
        archive=contents.archive_name,
    )
    return {**contents.common(), **usual_tree(contents), "Makefile": makefile}


def usual_tree(contents: Contents) -> dict[str, bytes]:
    """Header, library and example where most build systems expect them."""
    return {
        f"include/{contents.name}.h": contents.header,
        f"lib/{contents.archive_name}": contents.archive,
        **{f"example/{name}": data for name, data in contents.example.items()},
    }
