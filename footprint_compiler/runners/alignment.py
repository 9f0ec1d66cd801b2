"""Unaligned accesses, where the emulator is no board on which they can be made faults."""

from __future__ import annotations

from pathlib import Path

from footprint_compiler.errors import RunnerError
from footprint_compiler.runners.plugin import build_plugin

_FILE = "unaligned.txt"


def alignment_arguments(qemu: str) -> list[str]:
    """The command line options that have QEMU check the address of every load and store.

    Raises:
        ToolchainError: no compiler made the plugin.
    """
    path = str(build_plugin(qemu, "align")).replace(",", ",,")
    return ["-plugin", f"file={path},out={_FILE}"]


def check_alignment(folder: Path) -> None:
    """Refuses a run that a core without unaligned accesses would not have survived.

    Args:
        folder: where QEMU ran.

    Raises:
        RunnerError: there was an unaligned access, or the plugin wrote nothing.
    """
    file = folder / _FILE
    if not file.is_file():
        raise RunnerError("the plugin checked nothing", "Is this QEMU built with plugins?")
    number, instruction, address, size = map(int, file.read_text().split())
    if number:
        raise RunnerError(
            f"{number} unaligned accesses, the first of {size} bytes at {address:#x} by the "
            f"instruction at {instruction:#x}",
            "Do not use this build: a kernel is wrong for this core. Please report it.",
        )
