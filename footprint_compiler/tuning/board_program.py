"""Link the measuring program for an emulated Cortex-M board."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

from footprint_compiler.errors import ToolchainError
from footprint_compiler.runners.boards import Parts, linker_script, place_parts
from footprint_compiler.runners.cache import cached_file, key_of
from footprint_compiler.runners.compile import SOURCES as PORT
from footprint_compiler.runners.compile import run_zig, zig_version
from footprint_compiler.runners.libm import build_libm, needs_libm
from footprint_compiler.targets import Target
from footprint_compiler.tuning.protocol import ALIGN, GUARD_BYTES, Argument

MINE = Path(__file__).parent
SOURCES = (
    MINE / "measure.c",
    MINE / "port_board.c",
    PORT / "port_semihosting.c",
    PORT / "startup.c",
)
RESERVED_BYTES = 128 * 1024
"""For the program's own data: samples of time, which it shares with the form for Linux."""
#: Without tables of jumps, for which Armv6-M would call a helper that the counts should not hold.
_FLAGS = (
    "-O2",
    "-g0",
    "-ffreestanding",
    "-fno-sanitize=all",
    "-fno-stack-protector",
    "-fno-jump-tables",
)


def link_board_program(
    target: Target, objects: tuple[bytes, bytes], sides: Sequence[Sequence[Argument]], folder: Path
) -> Path:
    """The program in ``folder`` that runs two kernels on the board of a bare-metal target.

    Args:
        objects: ELF objects that define ``fpc_default`` and ``fpc_candidate``.
        sides: their arguments, for which it has memory.

    Raises:
        RunnerError: they do not fit the emulated board.
        ToolchainError: zig is missing, or a kernel refers to something that is nowhere.
    """
    heap = heap_bytes(sides)
    sizes = [_allocated(code) for code in objects]
    parts = Parts(sum(sizes), sum(sizes), heap, RESERVED_BYTES, 0)
    chosen = place_parts(target.runner.machine, parts)
    (folder / "board.ld").write_text(linker_script(target.runner.machine, chosen), encoding="utf-8")
    names = ("default.o", "candidate.o")
    for name, data in zip(names, objects, strict=True):
        (folder / name).write_bytes(data)
    triple, cpu = target.toolchain.zig_target, target.toolchain.zig_cpu
    compiled = [_compiled(source, target, heap) for source in SOURCES]
    command: list[str | Path] = ["cc", "-target", triple, f"-mcpu={cpu}", "-ffreestanding"]
    command += [*compiled, *names, "-T", "board.ld", "-o", "measure"]
    try:
        run_zig(command, folder)
    except ToolchainError as error:
        if not needs_libm(error.message):
            raise
        run_zig([*command, build_libm(triple, cpu)], folder)
    return folder / "measure"


def heap_bytes(sides: Sequence[Sequence[Argument]]) -> int:
    """Memory for all arguments with their guards: a power of two, so that few programs differ."""
    blocks = [argument.size_bytes for side in sides for argument in side]
    least = sum(-(-size // ALIGN) * ALIGN + 2 * GUARD_BYTES for size in blocks)
    return 1 << max(least - 1, 1).bit_length()


def _allocated(code: bytes) -> int:
    """Bytes of an object that take memory, each section rounded up."""
    sections = ELFFile(BytesIO(code)).iter_sections()
    held = [section for section in sections if section["sh_flags"] & SH_FLAGS.SHF_ALLOC]
    return sum(-(-int(section["sh_size"]) // 16) * 16 for section in held)


def _compiled(source: Path, target: Target, heap: int) -> Path:
    triple, cpu = target.toolchain.zig_target, target.toolchain.zig_cpu
    header = (PORT / "port.h").read_bytes()
    key = key_of([source.read_bytes(), header, triple, cpu, *_FLAGS, str(heap), zig_version()])

    def make(folder: Path) -> Path:
        command = ["cc", "-target", triple, f"-mcpu={cpu}", *_FLAGS, f"-DFPC_HEAP_BYTES={heap}"]
        run_zig([*command, f"-I{PORT}", "-c", source, "-o", "part.o"], folder)
        return folder / "part.o"

    return cached_file(f"{source.stem}.o", key, make)
