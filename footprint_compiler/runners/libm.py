"""C's math functions for the harness, which has no C library: compiled from the zig package.

A product links its own libm; the harness needs one too. Most of it is in zig's compiler-rt, which
is always linked. The rest comes from musl's sources in the zig package and from ``libm.zig``.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from footprint_compiler.runners.cache import cached_file, key_of
from footprint_compiler.runners.compile import SOURCES, run_zig, zig_version

#: Files of musl's src/math, with what they need from each other.
MUSL_FILES = (
    "erf",
    "erff",
    "pow",
    "pow_data",
    "powf",
    "powf_data",
    "exp_data",
    "exp2f_data",
    "logb",
    "logbf",
    "remainder",
    "remainderf",
    "remquo",
    "remquof",
    "__math_oflow",
    "__math_oflowf",
    "__math_uflow",
    "__math_uflowf",
    "__math_xflow",
    "__math_xflowf",
    "__math_invalid",
    "__math_invalidf",
    "__math_divzero",
    "__math_divzerof",
)
_UNDEFINED = re.compile(r"undefined symbol: (\w+)")


def needs_libm(message: str) -> bool:
    """Whether a linker's message says that a symbol is undefined."""
    return _UNDEFINED.search(message) is not None


def _lib_folder() -> Path:
    spec = importlib.util.find_spec("ziglang")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "lib"


def build_libm(triple: str, cpu: str) -> Path:
    """A static library of the functions that compiler-rt lacks, from the cache if it is there.

    Args:
        triple: zig's target, without an operating system.
        cpu: zig's name of the CPU.

    Raises:
        ToolchainError: zig is missing or fails.
    """
    key = key_of([(SOURCES / "libm.zig").read_bytes(), *MUSL_FILES, triple, cpu, zig_version()])

    def make(folder: Path) -> Path:
        lib = _lib_folder()
        musl = lib / "libc" / "musl"
        first = triple.split("-", maxsplit=1)[0]
        architecture = first if first in ("aarch64", "x86_64") else "arm"
        includes = [
            musl / "arch" / architecture,
            musl / "arch" / "generic",
            musl / "src" / "include",
            musl / "src" / "internal",
            lib / "libc" / "include" / f"{architecture}-linux-musl",
            lib / "libc" / "include" / "generic-musl",
            musl / "include",
        ]
        target = ["-target", triple, f"-mcpu={cpu}"]
        flags = ["-O2", "-g0", "-w", "-ffreestanding", "-ffunction-sections", "-fdata-sections"]
        flags += ["-fno-sanitize=all", "-D_XOPEN_SOURCE=700", *(f"-I{path}" for path in includes)]
        for name in MUSL_FILES:
            source = musl / "src" / "math" / f"{name}.c"
            run_zig(["cc", *target, *flags, "-c", source, "-o", f"{name}.o"], folder)
        zig = ["build-obj", *target, "-O", "ReleaseFast", "-fstrip", "-ffunction-sections"]
        run_zig([*zig, "-femit-bin=zigmath.o", SOURCES / "libm.zig"], folder)
        objects = [f"{name}.o" for name in (*MUSL_FILES, "zigmath")]
        run_zig(["ar", "rc", "libm.a", *objects], folder)
        return folder / "libm.a"

    return cached_file("libm.a", key, make)
