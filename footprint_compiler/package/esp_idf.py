"""An ESP-IDF component around the archive.

ESP-IDF builds for Xtensa, for RISC-V and, as a simulation, for Linux on the machine itself. fpc has
no target for the first two, so that only the last one can be packed.
"""

from __future__ import annotations

from footprint_compiler.errors import UsageError
from footprint_compiler.package.contents import Contents
from footprint_compiler.package.text import render


def esp_idf_files(contents: Contents) -> dict[str, bytes]:
    """Path in the package -> bytes.

    Raises:
        UsageError: the build is for a core that ESP-IDF does not know.
    """
    if contents.machine.architecture != "x86_64":
        raise UsageError(
            f"ESP-IDF builds for Xtensa, RISC-V and linux, the build is for "
            f"{contents.artifact.target}",
            "Build for x86-64 to use it with `idf.py --preview set-target linux`.",
        )
    name = contents.name
    values = {
        "name": name,
        "upper": name.upper(),
        "label": contents.label,
        "summary": contents.summary,
        "libm": contents.libm,
        "archive": contents.archive_name,
        "sources": sorted(file for file in contents.example if file != "main.c"),
    }
    example = "examples/check"
    return {
        **contents.common(),
        "idf_component.yml": render("idf_component.yml.j2", **values),
        "CMakeLists.txt": render("esp.CMakeLists.txt.j2", **values),
        f"include/{name}.h": contents.header,
        f"lib/{contents.archive_name}": contents.archive,
        f"{example}/CMakeLists.txt": render("esp.example.CMakeLists.txt.j2", **values),
        f"{example}/main/CMakeLists.txt": render("esp.main.CMakeLists.txt.j2", **values),
        f"{example}/main/idf_component.yml": render("esp.main.idf_component.yml.j2", **values),
        f"{example}/main/app_main.c": render("app_main.c.j2", **values),
        **{
            f"{example}/main/{file}": data
            for file, data in contents.example.items()
            if file != "main.c"
        },
    }
