"""The executable that runs an artifact in an emulator: harness, startup code and the library."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from footprint_compiler.artifact import Artifact
from footprint_compiler.errors import ArtifactError, RunnerError, ToolchainError
from footprint_compiler.runners.boards import Parts, linker_script, place_parts
from footprint_compiler.runners.cache import cached_file, key_of
from footprint_compiler.runners.compile import SOURCES, first_error, run_zig, zig_version
from footprint_compiler.runners.libm import build_libm, needs_libm
from footprint_compiler.runners.machine import Machine

_COMMON = ("harness.c", "call_on_stack.S")
_LINUX = (*_COMMON, "port_linux.c")
_BARE = (*_COMMON, "port_semihosting.c", "startup.c")
_HEADERS = ("port.h", "libm.zig")

#: Architecture of a Linux target -> zig target and CPU of its harness: one for all CPUs, so that
#: zig builds its runtime once. The model's own code is what the library holds.
LINUX_HARNESS = {
    "aarch64": ("aarch64-freestanding-none", "generic"),
    "arm": ("arm-freestanding-eabihf", "generic+v7a+neon+vfp3"),
    "x86_64": ("x86_64-freestanding-none", "x86_64"),
}

#: Beyond twice the stack figure of the manifest, so that a wrong figure is seen, not suffered.
SPARE_STACK_BYTES = 8 * 1024


@dataclass(frozen=True)
class Library:
    """The files of an artifact that go into an executable.

    Attributes:
        archive: the static library.
        header: the C header.
        weights: bytes to give at init or page by page, or None when they are in the library.
    """

    archive: Path
    header: Path
    weights: Path | None


def find_library(artifact: Artifact) -> Library:
    """The static library, header and weights of an artifact.

    Raises:
        ArtifactError: one of them is missing.
        RunnerError: the library starts threads.
    """
    threads = int(artifact.manifest.get("threads", 1))
    if threads > 1:
        raise RunnerError(
            f"{artifact.path} is built for {threads} threads; kernel by kernel and "
            "in an emulator there is one",
            "Build it with --threads 1 for this.",
        )
    files = artifact.manifest.get("files", {})
    archive = artifact.path / str(files.get("static_library", f"lib{artifact.name}.a"))
    weights = artifact.path / f"{artifact.name}.weights.bin"
    for path in (archive, artifact.header):
        if not path.is_file():
            raise ArtifactError(f"{artifact.path}: {path.name} is missing")
    apart = f"{artifact.name.upper()}_WEIGHTS_ALIGN" in artifact.header.read_text("utf-8")
    apart = apart or is_paged(artifact)
    if apart and not weights.is_file():
        raise ArtifactError(f"{artifact.path}: {weights.name} is missing")
    return Library(archive, artifact.header, weights if apart else None)


def is_paged(artifact: Artifact) -> bool:
    """Whether callbacks load the weights page by page."""
    return bool(artifact.manifest.get("weights", {}).get("mode") == "paged")


def stated_stack_bytes(artifact: Artifact) -> int:
    """The worst case that the manifest states."""
    return int(artifact.manifest["footprint"]["ram"]["stack_bytes"])


def stack_block_bytes(artifact: Artifact) -> int:
    """Size of the stack that the model gets in the harness."""
    return -(-(2 * stated_stack_bytes(artifact) + SPARE_STACK_BYTES) // 16) * 16


def model_header(artifact: Artifact, stack_bytes: int) -> str:
    """``harness-model.h``: the names of this artifact under those that ``harness.c`` uses.

    No artifact has a macro in mixed case or a header with a dash, whatever its name.
    """
    name, upper = artifact.name, artifact.name.upper()
    lines = ["#include <stdint.h>", f'#include "{artifact.header.name}"']
    lines += [f"#define Model_CTX {name}_ctx"]
    if is_paged(artifact):
        lines += [
            f"#define Model_PAGER {name}_pager",
            f"#define Model_PAGE_BUFFER_BYTES {upper}_PAGE_BUFFER_BYTES",
            f"#define Model_WEIGHTS_ALIGN {upper}_PAGE_ALIGN",
        ]
    for function in ("init", "input", "output", "invoke"):
        lines += [f"#define Model_{function.upper()} {name}_{function}"]
    for macro in ("ARENA_BYTES", "ARENA_ALIGN", "NUM_INPUTS", "NUM_OUTPUTS", "WEIGHTS_BYTES"):
        lines += [f"#define Model_{macro} {upper}_{macro}"]
    for kind, specs in (("INPUT", artifact.inputs), ("OUTPUT", artifact.outputs)):
        sizes = ", ".join(f"{upper}_{kind}_{i}_BYTES" for i in range(len(specs))) or "0"
        lines += [f"#define Model_{kind}_BYTES {{{sizes}}}"]
    lines += _more_arenas(artifact)
    lines += [
        f"#define Model_STACK_BLOCK {stack_bytes}",
        f"#ifdef {upper}_WEIGHTS_RAM_ALIGN",
        "#define Model_RAM_WEIGHTS 1",
        f"#define Model_WEIGHTS_ALIGN {upper}_WEIGHTS_RAM_ALIGN",
        "#else",
        "#define Model_RAM_WEIGHTS 0",
        "#endif",
        f"#ifdef {upper}_WEIGHTS_ALIGN",
        "#define Model_EXTERN_WEIGHTS 1",
        f"#define Model_WEIGHTS_ALIGN {upper}_WEIGHTS_ALIGN",
        "#else",
        "#define Model_EXTERN_WEIGHTS 0",
        "#endif",
    ]
    return "\n".join(lines) + "\n"


def _more_arenas(artifact: Artifact) -> list[str]:
    """Blocks in other pools: their guards, the arguments of init, and a table to examine them."""
    upper, more = artifact.name.upper(), artifact.manifest.get("more_arenas", [])
    if not more:
        return ["#define Model_MORE_ARGUMENTS"]
    sizes = [f"{upper}_{arena['macro']}_BYTES" for arena in more]
    lines = [
        f"static unsigned char more_{index}[Model_GUARD_BYTES + {size} + Model_GUARD_BYTES]\n"
        f'    __attribute__((section(".bss.fpc_arena"), aligned({upper}_ARENA_ALIGN)));'
        for index, size in enumerate(sizes)
    ]
    arguments = "".join(
        f", more_{index} + Model_GUARD_BYTES, {size}" for index, size in enumerate(sizes)
    )
    table = ", ".join(f"{{more_{index}, {size}}}" for index, size in enumerate(sizes))
    # A guard must keep the alignment of what follows it.
    return [
        f"#define Model_GUARD_BYTES (256 + {upper}_ARENA_ALIGN - 256 % {upper}_ARENA_ALIGN)",
        *lines,
        f"#define Model_MORE_ARGUMENTS {arguments}",
        "#define Model_MORE_BLOCKS " + table,
    ]


def _weights_block_bytes(artifact: Artifact, library: Library) -> int:
    """RAM for weights that are given, or copied, at init, or for their pages."""
    if is_paged(artifact):
        return int(artifact.manifest["weights"]["page_buffer_bytes"])
    copied = int(artifact.manifest["footprint"]["ram"].get("weights_bytes", 0))
    return library.weights.stat().st_size if library.weights else copied


def _parts(artifact: Artifact, library: Library, stack_bytes: int) -> Parts:
    footprint = artifact.manifest["footprint"]
    weights_bytes = int(footprint["flash"]["weights_bytes"])
    code_bytes = int(footprint["flash"]["code_bytes"])
    constants_bytes = int(footprint["flash"].get("constants_bytes", code_bytes))
    extern = library.weights is not None
    return Parts(
        code_bytes=code_bytes,
        constant_bytes=constants_bytes + (0 if extern else weights_bytes),
        arena_bytes=int(footprint["ram"]["arena_bytes"])
        + 1024 * (1 + len(artifact.manifest.get("more_arenas", ()))),
        stack_bytes=stack_bytes,
        weights_bytes=_weights_block_bytes(artifact, library),
    )


def build_harness(artifact: Artifact, machine: Machine) -> Path:
    """The executable for an artifact, from the cache when nothing changed.

    Raises:
        ArtifactError: the artifact has no static library.
        RunnerError: it does not fit the emulated board.
        ToolchainError: zig is missing or fails.
    """
    library = find_library(artifact)
    stack_bytes = stack_block_bytes(artifact)
    header = model_header(artifact, stack_bytes)
    names = _BARE if machine.has_board else _LINUX
    script = ""
    if machine.has_board:
        board = machine.runner.machine
        section = str(artifact.manifest.get("weights", {}).get("section") or ".rodata")
        chosen = place_parts(board, _parts(artifact, library, stack_bytes))
        script = linker_script(board, chosen, section)
    key = key_of(
        [
            library.archive.read_bytes(),
            library.header.read_bytes(),
            header,
            script,
            json.dumps(dataclasses.asdict(machine.toolchain)),
            zig_version(),
            *((SOURCES / name).read_bytes() for name in (*names, *_HEADERS)),
        ]
    )

    def make(folder: Path) -> Path:
        (folder / "harness-model.h").write_text(header, encoding="utf-8")
        (folder / "board.ld").write_text(script, encoding="utf-8")
        flags = ["-O2", "-g0", "-fno-sanitize=all", "-fno-stack-protector"]
        flags += [f"-I{folder}", f"-I{library.header.parent.resolve()}", f"-I{SOURCES}"]
        sources = [SOURCES / name for name in names]
        link = _link_board if machine.has_board else _link_linux
        link(machine, [*flags, *sources, library.archive.resolve()], folder)
        return folder / "harness.elf"

    return cached_file(f"{artifact.name}.elf", key, make)


def _link_linux(machine: Machine, arguments: list[str | Path], folder: Path) -> None:
    if machine.is_bare_metal:
        # One float ABI for all: the program is for the very core of the library.
        triple, cpu = machine.toolchain.zig_target, machine.toolchain.zig_cpu
        _link(triple, cpu, ["-static", *arguments], folder)
        return
    architecture = machine.toolchain.zig_target.split("-", maxsplit=1)[0]
    if architecture not in LINUX_HARNESS:
        raise RunnerError(
            f"no harness for {machine.toolchain.zig_target}",
            f"The emulated Linux targets are those of {', '.join(LINUX_HARNESS)}.",
        )
    triple, cpu = LINUX_HARNESS[architecture]
    _link(triple, cpu, ["-static", *arguments], folder)


def _link_board(machine: Machine, arguments: list[str | Path], folder: Path) -> None:
    triple, cpu = machine.toolchain.zig_target, machine.toolchain.zig_cpu
    try:
        _link(triple, cpu, [*arguments, "-T", "board.ld"], folder)
    except ToolchainError as error:
        if "will not fit in region" not in error.message:
            raise
        raise RunnerError(
            f"the model does not fit the emulated board {machine.runner.machine}: "
            f"{first_error(error.message)}",
            "Run it on the real board, or build it for arm64 to check its numbers.",
        ) from error


def _link(triple: str, cpu: str, arguments: list[str | Path], folder: Path) -> None:
    command = ["cc", "-target", triple, f"-mcpu={cpu}", "-ffreestanding", *arguments]
    command += ["-o", "harness.elf"]
    try:
        run_zig(command, folder)
    except ToolchainError as error:
        if not needs_libm(error.message):
            raise
        run_zig([*command, build_libm(triple, cpu)], folder)
