"""A Zephyr module: ``zephyr/module.yml``, Kconfig, CMake and a sample.

Source of the keys: the schema in Zephyr's ``scripts/zephyr_module.py`` and its guide to modules.
"""

from __future__ import annotations

from footprint_compiler.errors import UsageError
from footprint_compiler.package.compilers import Machine
from footprint_compiler.package.contents import Contents
from footprint_compiler.package.text import render


def zephyr_files(contents: Contents) -> dict[str, bytes]:
    """Path in the package -> bytes.

    Raises:
        UsageError: Zephyr has no such architecture.
    """
    name = contents.name
    values = {
        "name": name,
        "upper": name.upper(),
        "symbols": _symbols(contents),
        "archive": contents.archive_name,
        "summary": contents.summary,
        "libm": contents.libm,
        "sources": sorted(file for file in contents.example if file.endswith(".c")),
    }
    sample = f"samples/{name}"
    return {
        **contents.common(),
        f"include/{name}.h": contents.header,
        f"lib/{contents.archive_name}": contents.archive,
        "zephyr/module.yml": render("module.yml.j2", **values),
        "zephyr/Kconfig": render("Kconfig.j2", **values),
        "zephyr/CMakeLists.txt": render("zephyr.CMakeLists.txt.j2", **values),
        f"{sample}/CMakeLists.txt": render("zephyr.sample.CMakeLists.txt.j2", **values),
        f"{sample}/prj.conf": render("prj.conf.j2", **values),
        f"{sample}/sample.yaml": render("sample.yaml.j2", **values),
        **{f"{sample}/src/{file}": data for file, data in contents.example.items()},
    }


def _symbols(contents: Contents) -> list[str]:
    """Kconfig symbols that must be set for the library to be linked."""
    machine = contents.machine
    if machine.architecture == "riscv32":
        return _riscv_symbols(machine)
    if machine.is_bare_metal:
        core = "CPU_" + machine.core.upper().replace("-", "_")
        return [core, "FP_HARDABI"] if machine.float_abi == "hard" else [core]
    if machine.architecture == "aarch64":
        return ["ARM64"]
    raise UsageError(
        f"Zephyr does not run programs of {contents.artifact.target}",
        "Build for a Cortex-M, an ESP32 or arm64.",
    )


def _riscv_symbols(machine: Machine) -> list[str]:
    """The extensions that the library is compiled for, and its float ABI."""
    extensions = machine.core.removeprefix("rv32i").upper()
    found = ["RISCV_ISA_RV32I", *(f"RISCV_ISA_EXT_{letter}" for letter in extensions)]
    return [*found, "FLOAT_HARD" if machine.float_abi == "hard" else "!FLOAT_HARD"]
