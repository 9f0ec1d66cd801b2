"""A program that is an artifact alone, linked, to compare its sections with what is stated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

from footprint_compiler.artifact import Artifact
from footprint_compiler.codegen.entry import PUBLIC_FUNCTIONS
from footprint_compiler.targets import load_target


def linked(artifact: Artifact, folder: Path) -> dict[str, tuple[int, bool]]:
    """Loaded sections of a program that is the artifact alone: name -> (bytes, writable)."""
    toolchain = load_target(artifact.target).toolchain
    triple = toolchain.zig_target.replace("-linux-gnueabihf", "-freestanding-eabihf")
    triple = triple.replace("-linux-gnu", "-freestanding-none")
    roots = [f"-Wl,-u,{artifact.name}_{function}" for function in PUBLIC_FUNCTIONS]
    names = [name for names in artifact.manifest["externals"].values() for name in names]
    stub = "".join(f".globl {name}\n{name}:\n" for name in names)
    (folder / "elsewhere.S").write_text(f'.section .elsewhere, "a"\n{stub}.byte 0\n')
    command = [
        *(sys.executable, "-m", "ziglang", "cc", "-target", triple, f"-mcpu={toolchain.zig_cpu}"),
        *("-nostdlib", "-static", "-Wl,--gc-sections", "elsewhere.S"),
        *(*roots, f"-Wl,-e,{artifact.name}_invoke"),
        *(str(artifact.path / artifact.manifest["files"]["static_library"]), "-o", "linked.elf"),
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with (folder / "linked.elf").open("rb") as file:
        return {
            section.name: (section["sh_size"], bool(section["sh_flags"] & SH_FLAGS.SHF_WRITE))
            for section in ELFFile(file).iter_sections()
            if section["sh_flags"] & SH_FLAGS.SHF_ALLOC
            and section["sh_size"]
            and section.name != ".elsewhere"
        }


def check_flash(artifact: Artifact, folder: Path) -> None:
    """Nothing writable, code to the byte, read-only data up to the padding before the weights."""
    sections = linked(artifact, folder)
    flash = artifact.manifest["footprint"]["flash"]
    assert not any(writable for _, writable in sections.values())
    sizes = {name: size for name, (size, _) in sections.items()}
    assert sizes.pop(".text") == flash["code_bytes"]
    gap = artifact.manifest["weights"]["align_bytes"] - 1
    read_only = flash["constants_bytes"] + flash["weights_bytes"]
    assert read_only <= sum(sizes.values()) <= read_only + gap, sizes
