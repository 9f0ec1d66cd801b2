"""Link the measuring program: two kernels and ``measure.c``, static, without a C library."""

from __future__ import annotations

from pathlib import Path

from footprint_compiler.errors import ToolchainError, UsageError
from footprint_compiler.runners.cache import cached_file, key_of
from footprint_compiler.runners.compile import SOURCES as PORT
from footprint_compiler.runners.compile import run_zig, zig_version
from footprint_compiler.runners.libm import build_libm, needs_libm
from footprint_compiler.targets import Target

SOURCES = Path(__file__).parent

#: Architecture of a Linux target -> zig target and CPU of all but the kernels.
PROGRAMS = {
    "x86_64": ("x86_64-freestanding-none", "x86_64"),
    "aarch64": ("aarch64-freestanding-none", "generic"),
    "arm": ("arm-freestanding-eabihf", "generic+v7a+neon+vfp3"),
}
_FLAGS = ("-O2", "-g0", "-ffreestanding", "-fno-sanitize=all", "-fno-stack-protector")


def needs_linux(target: Target) -> None:
    """Refuse a target that no device with Linux runs.

    Raises:
        UsageError: its kernels can be measured in an emulator only.
    """
    if target.is_bare_metal:
        raise UsageError(
            f"kernels for {target.name} cannot be tuned on a device: it has no Linux",
            "Use --runner emulator.",
        )


def program_target(target: Target) -> tuple[str, str]:
    """zig target and CPU of the measuring program.

    Raises:
        UsageError: there is none for the architecture.
    """
    architecture = target.toolchain.zig_target.split("-", maxsplit=1)[0]
    if target.is_bare_metal:
        return target.toolchain.zig_target, target.toolchain.zig_cpu
    if architecture not in PROGRAMS:
        raise UsageError(
            f"kernels for {target.name} cannot be tuned: there is no measuring program",
            f"Tune for a target of {', '.join(PROGRAMS)}.",
        )
    return PROGRAMS[architecture]


def link_program(target: Target, objects: tuple[bytes, bytes], folder: Path) -> Path:
    """The program in ``folder`` that measures two kernels.

    Args:
        objects: ELF objects that define ``fpc_default`` and ``fpc_candidate``.

    Raises:
        ToolchainError: zig is missing, or a kernel refers to something that is nowhere.
        UsageError: see ``program_target``.
    """
    triple, cpu = program_target(target)
    names = ("default.o", "candidate.o")
    for name, data in zip(names, objects, strict=True):
        (folder / name).write_bytes(data)
    parts = [_compiled(source, triple, cpu) for source in (SOURCES / "measure.c", _port())]
    command: list[str | Path] = ["cc", "-target", triple, f"-mcpu={cpu}", "-ffreestanding"]
    command += ["-static", *parts, *names, "-o", "measure"]
    try:
        run_zig(command, folder)
    except ToolchainError as error:
        if not needs_libm(error.message):
            raise
        run_zig([*command, build_libm(triple, cpu)], folder)
    return folder / "measure"


def link_library(target: Target, objects: tuple[bytes, bytes], folder: Path) -> Path:
    """The same as a shared library with the function ``fpc_measure`` for TVM's RPC server.

    Raises:
        As ``link_program``.
    """
    triple, cpu = program_target(target)
    names = ("default.o", "candidate.o")
    for name, data in zip(names, objects, strict=True):
        (folder / name).write_bytes(data)
    sources = (SOURCES / "measure.c", SOURCES / "measure_rpc.c", _port())
    parts = [_compiled(source, triple, cpu, ("-fPIC",)) for source in sources]
    # What a kernel calls, memset or expf, is there in the server's process.
    run_zig(["ld.lld", "-shared", "-z", "undefs", *parts, *names, "-o", "measure.so"], folder)
    return folder / "measure.so"


def _port() -> Path:
    return PORT / "port_linux.c"


def _compiled(source: Path, triple: str, cpu: str, more: tuple[str, ...] = ()) -> Path:
    header = (PORT / "port.h").read_bytes()
    key = key_of([source.read_bytes(), header, triple, cpu, *_FLAGS, *more, zig_version()])

    def make(folder: Path) -> Path:
        command = ["cc", "-target", triple, f"-mcpu={cpu}", *_FLAGS, *more, f"-I{PORT}"]
        run_zig([*command, "-c", source, "-o", "part.o"], folder)
        return folder / "part.o"

    return cached_file(f"{source.stem}.o", key, make)
