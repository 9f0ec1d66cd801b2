"""Exact instruction counts in QEMU: build the plugin, say where to count, read what it found."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from footprint_compiler.errors import RunnerError, ToolchainError
from footprint_compiler.runners.cache import cached_file, key_of
from footprint_compiler.runners.compile import SOURCES, run_zig, zig_version

BEGIN, END = "fpc_count_begin", "fpc_count_end"

#: QEMU refuses a plugin of version 1 since release 9, which takes version 2 and later.
_VERSION_2_SINCE = 9


@cache
def qemu_major(program: str) -> int:
    """Major version of an installed QEMU program.

    Raises:
        ToolchainError: it does not say.
    """
    try:
        result = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolchainError(f"{Path(program).name} --version failed: {error}") from error
    found = re.search(r"version (\d+)\.", result.stdout)
    if found is None:
        raise ToolchainError(f"{Path(program).name} --version printed {result.stdout[:60]!r}")
    return int(found[1])


def build_plugin(program: str, name: str = "count") -> Path:
    """A plugin for this QEMU, from the cache when it is there.

    Args:
        program: path of the QEMU program.
        name: ``count``, ``profile`` or ``align``: the source is ``<name>_plugin.c``.

    Raises:
        ToolchainError: no compiler made it.
    """
    version = 2 if qemu_major(program) >= _VERSION_2_SINCE else 1
    source = SOURCES / f"{name}_plugin.c"
    key = key_of([source.read_bytes(), str(version), zig_version()])

    def make(folder: Path) -> Path:
        flags: list[str | Path] = [
            "-O2",
            "-g0",
            "-shared",
            "-fPIC",
            "-fvisibility=hidden",
            "-fno-sanitize=all",
        ]
        flags += ["-fvisibility=hidden", f"-DFPC_PLUGIN_VERSION={version}", "-Wl,-z,undefs"]
        flags += [source, "-o", "plugin.so"]
        run_zig(["cc", *flags], folder)
        return folder / "plugin.so"

    return cached_file(f"{name}.so", key, make)


def find_markers(executable: Path) -> tuple[int, int]:
    """Addresses of the two functions between which is counted.

    Raises:
        RunnerError: the executable has no such symbols.
    """
    begin, end = find_functions(executable, (BEGIN, END))
    return begin, end


def find_functions(executable: Path, names: Sequence[str]) -> list[int]:
    """Addresses of functions, without the Thumb bit.

    Raises:
        RunnerError: the executable lacks one of them.
    """
    with executable.open("rb") as file:
        elf = ELFFile(file)
        table = elf.get_section_by_name(".symtab")
        mask = ~1 if elf["e_machine"] == "EM_ARM" else ~0
        found: dict[str, int] = {}
        if isinstance(table, SymbolTableSection):
            for name in names:
                for symbol in table.get_symbol_by_name(name) or ():
                    found[name] = int(symbol["st_value"]) & mask
    missing = [name for name in names if name not in found]
    if missing:
        raise RunnerError(f"{executable.name} has no function {missing[0]}")
    return [found[name] for name in names]


def plugin_arguments(
    plugin: Path, markers: tuple[int, int], out: str, entries: str = ""
) -> list[str]:
    """The command line options that load the plugin.

    Args:
        markers: addresses between which is counted.
        out, entries: files that the plugin writes and reads, relative to QEMU's folder.
    """
    path = str(plugin).replace(",", ",,")
    more = f",entries={entries}" if entries else ""
    return ["-plugin", f"file={path},begin={markers[0]:#x},end={markers[1]:#x},out={out}{more}"]


def count_of(values: list[int]) -> int:
    """Instructions of the last invocation.

    Args:
        values: one per pair of markers: first the call of a function of one instruction, then
            the invocations. What they share is the harness's; the one instruction is added.

    Raises:
        RunnerError: nothing was counted.
    """
    if len(values) < 2:
        raise RunnerError("the plugin counted nothing", "Is this QEMU built with plugins?")
    return values[-1] - values[0] + 1


def which_qemu(program: str) -> str | None:
    """Path of an emulator, or None."""
    return shutil.which(program)
