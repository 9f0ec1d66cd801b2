"""Whether this process can execute the code of an artifact."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from footprint_compiler.artifact import Artifact
from footprint_compiler.errors import ArtifactError, RunnerError
from footprint_compiler.targets.host import missing_on_host

# platform.machine() -> (ELF machine, ELF class) of the libraries that it loads.
_MACHINES = {
    "x86_64": ("EM_X86_64", 64),
    "aarch64": ("EM_AARCH64", 64),
    "armv7l": ("EM_ARM", 32),
}
_REMEDY = "Use `fpc run`, which executes it in an emulator."


def check_host(artifact: Artifact) -> None:
    """Checks that the library is one that this process can load.

    Raises:
        RunnerError: it is for another processor, for features that this one lacks, or for none
            with an operating system.
        ArtifactError: it is not an ELF file.
    """
    name = f"{artifact.name} was built for {artifact.target}"
    if artifact.library.suffix != ".so":
        raise RunnerError(f"{name}, which has no operating system to load it", _REMEDY)
    here = _MACHINES.get(platform.machine())
    if here is None or not sys.platform.startswith("linux"):
        raise RunnerError(f"{name}; loading is not possible on this system", _REMEDY)
    machine = _elf_machine(artifact.library)
    if machine != here:
        raise RunnerError(f"{name}, this process runs on {platform.machine()}", _REMEDY)
    missing = missing_on_host(frozenset(artifact.manifest.get("cpu_features", ())))
    if missing:
        raise RunnerError(
            f"{name}; this processor lacks {', '.join(missing)}",
            "Build for a target that this processor has, for example `--target native`.",
        )


def _elf_machine(path: Path) -> tuple[str, int]:
    try:
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            return str(elf["e_machine"]), int(elf.elfclass)
    except (ELFError, OSError) as error:
        raise ArtifactError(f"{path} is not a library: {error}") from error
