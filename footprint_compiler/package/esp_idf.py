"""An ESP-IDF component around the archive, with an example project.

Sources: ESP-IDF's build system guide (components, ``add_prebuilt_library``,
``sdkconfig.defaults``), its toolchain files for the flags of each chip, and the manifest schema of
the IDF Component Manager. ESP-IDF also builds for Linux on the machine itself, as a simulation.
"""

from __future__ import annotations

from footprint_compiler.errors import UsageError
from footprint_compiler.package.compilers import Machine
from footprint_compiler.package.contents import Contents
from footprint_compiler.package.text import render

_CHIPS = {
    ("rv32imc", "ilp32"): ("esp32c3", "esp32c2", "esp32c5", "esp32c6", "esp32c61", "esp32h2"),
    ("rv32imac", "ilp32"): ("esp32c6", "esp32c5", "esp32c61", "esp32h2"),
    ("rv32imafc", "ilp32f"): ("esp32p4",),
}
"""Instruction set and ABI -> the chips that execute it and are compiled for this ABI, the usual one
first."""

_LEAST_VERSION = {"esp32p4": "5.3", "linux": "5.0"}
_USUAL_VERSION = "5.2"
"""Of ESP-IDF: the first with the chip, and with a linker that knows the extensions by name."""

_MAIN_STACK_BYTES = 3584
"""Of the main task, ESP-IDF's default: enough for a model of few bytes and for printf."""


def esp_idf_files(contents: Contents) -> dict[str, bytes]:
    """Path in the package -> bytes.

    Raises:
        UsageError: the build is for a core that ESP-IDF does not know.
    """
    chips = _chips(contents.machine)
    if not chips:
        raise UsageError(
            f"ESP-IDF builds for Xtensa, RISC-V and linux, the build is for "
            f"{contents.artifact.target}",
            "Build for esp32-c3, esp32-c6 or esp32-p4, or for x86-64 and ESP-IDF's target linux.",
        )
    name = contents.name
    built_for = contents.artifact.target.replace("-", "")
    chip = built_for if built_for in chips else chips[0]
    stack = int(contents.artifact.manifest["footprint"]["ram"]["stack_bytes"])
    values = {
        "name": name,
        "upper": name.upper(),
        "label": contents.label,
        "summary": contents.summary,
        "libm": contents.libm,
        "archive": contents.archive_name,
        "chips": sorted(chips),
        "chip": chip,
        "least": _LEAST_VERSION.get(chip, _USUAL_VERSION),
        "main_stack": _MAIN_STACK_BYTES + -(-stack // 512) * 512,
        "machine": contents.machine,
        "sources": sorted(file for file in contents.example if file != "main.c"),
    }
    example = "examples/check"
    return {
        **contents.common(),
        "README.md": render("esp.README.md.j2", **values),
        "idf_component.yml": render("idf_component.yml.j2", **values),
        "CMakeLists.txt": render("esp.CMakeLists.txt.j2", **values),
        f"include/{name}.h": contents.header,
        f"lib/{contents.archive_name}": contents.archive,
        f"{example}/CMakeLists.txt": render("esp.example.CMakeLists.txt.j2", **values),
        f"{example}/sdkconfig.defaults": render("esp.sdkconfig.defaults.j2", **values),
        f"{example}/main/CMakeLists.txt": render("esp.main.CMakeLists.txt.j2", **values),
        f"{example}/main/app_main.c": render("app_main.c.j2", **values),
        **{
            f"{example}/main/{file}": data
            for file, data in contents.example.items()
            if file != "main.c"
        },
    }


def _chips(machine: Machine) -> tuple[str, ...]:
    """Names of ESP-IDF's targets that can link the library."""
    if machine.architecture == "x86_64":
        return ("linux",)
    return _CHIPS.get((machine.core, machine.abi), ())
