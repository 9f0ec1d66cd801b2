"""The C compiler driver that compiles the entry point and links: zig by default, or the user's own.

zig is started with a private local cache: its cache does not notice that a file named by
``.incbin`` has changed, and would hand out the weights of an earlier build.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from footprint_compiler.errors import OutputError, ToolchainError

if TYPE_CHECKING:
    from footprint_compiler.targets import Target

# No path of this machine, no time, no unwind table and no guard that needs a runtime.
_COMPILE_FLAGS = (
    "-std=c99",
    "-g0",
    "-ffreestanding",
    "-ffunction-sections",
    "-fno-ident",
    "-fno-asynchronous-unwind-tables",
    "-fno-unwind-tables",
    "-fno-stack-protector",
    "-fomit-frame-pointer",
)
# Clang's -Oz is -Os with this attribute on every function; zig's driver takes -Oz for -Os.
_SMALL = """\
#if defined(__clang__)
#pragma clang attribute push(__attribute__((minsize)), apply_to = function)
#endif
#include "{}"
#if defined(__clang__)
#pragma clang attribute pop
#endif
"""
_ZIG_COMPILE_FLAGS = ("-fno-sanitize=all",)
# An outlined piece of a function has no frame of its own: its stack could not be counted.
_CLANG_SMALL_FLAGS = ("-mno-outline",)
# Products and sums as one instruction where the target has it, as TVM's own code has them.
_IR_FLAGS = (
    "-ffp-contract=fast",
    "-fno-vectorize",
    "-fno-slp-vectorize",
    "-Wno-override-module",
    "-Wno-unused-command-line-argument",
)
_GCC_COMPILE_FLAGS = ("-fno-stack-clash-protection",)
_LINK_FLAGS = (
    "-nostdlib",
    "-shared",
    "-s",
    "-Wl,--build-id=none",
    "-Wl,-z,noexecstack",
    "-Wl,-z,relro",
    "-Wl,-z,now",
    "-Wl,-z,defs",
    "-Wl,--gc-sections",
    "-Wl,--as-needed",
)
_FULL_DISK = ("NoSpaceLeft", "No space left")


@dataclass(frozen=True)
class Toolchain:
    """A compiler driver with everything that depends on the target.

    Attributes:
        command: the driver and the flags that select the target.
        compile_flags: for C and assembler sources.
        env: added to the environment of the driver.
        folder: where sources and objects of this build live; the driver runs there.
        small: compile for little code.
    """

    command: tuple[str, ...]
    compile_flags: tuple[str, ...]
    env: Mapping[str, str]
    folder: Path
    small: bool = False

    def compile(self, source: str) -> bytes:
        """The relocatable object of ``source``, a file name in ``folder``.

        Raises:
            ToolchainError: the driver is missing or refuses the source.
        """
        output = f"{source}.o"
        if self.small and source.endswith(".c"):
            (self.folder / f"small-{source}").write_text(_SMALL.format(source), encoding="utf-8")
            source = f"small-{source}"
        self.run([*self.compile_flags, "-c", source, "-o", output])
        return (self.folder / output).read_bytes()

    def compile_ir(self, source: str) -> bytes:
        """The relocatable object of LLVM IR, which zig and Clang take; as ``compile``."""
        flags = [flag for flag in self.compile_flags if not flag.startswith("-std=")]
        output = f"{source}.o"
        self.run([*flags, *_IR_FLAGS, "-c", source, "-o", output])
        return (self.folder / output).read_bytes()

    def link_shared(
        self,
        objects: Sequence[str],
        output: str,
        *,
        version_script: str,
        libraries: Sequence[str],
    ) -> bytes:
        """The shared library of ``objects`` (file names in ``folder``), named ``output``.

        Args:
            version_script: file name in ``folder`` that lists what is exported.
            libraries: such as ``-lm``; only those that are needed become DT_NEEDED.

        Raises:
            ToolchainError: the driver is missing or the link fails.
        """
        flags = [*_LINK_FLAGS, f"-Wl,-soname,{output}", f"-Wl,--version-script={version_script}"]
        self.run([*flags, *objects, *libraries, "-o", output])
        return (self.folder / output).read_bytes()

    def run(self, arguments: Sequence[str]) -> None:
        """Start the driver in ``folder``.

        Raises:
            ToolchainError: it is missing or fails.
            OutputError: the disk is full.
        """
        command = [*self.command, *arguments]
        try:
            result = subprocess.run(
                command,
                cwd=self.folder,
                env={**os.environ, **self.env},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        except OSError as error:
            raise ToolchainError(f"cannot start {command[0]!r}: {error.strerror}") from error
        if result.returncode == 0:
            return
        if any(words in result.stderr for words in _FULL_DISK):
            raise OutputError(f"no space left in {self.folder} for temporary files")
        lines = [line for line in result.stderr.splitlines() if line.strip()]
        # collect2, which runs the linker of gcc, says after the linker's own lines that it failed.
        causes = [line for line in lines if "error" in line and "collect2" not in line]
        said = [line for line in causes or lines if not line.endswith(":")]
        first = next(iter(said or lines), "")
        raise ToolchainError(f"{shlex.join(self.command)} failed ({result.returncode}): {first}")


def find_toolchain(target: Target, cc: str | None, folder: Path, small: bool = False) -> Toolchain:
    """The driver for ``target``: ``cc`` if given (a command line), else zig.

    Args:
        small: compile for little code rather than for speed.
        folder: an empty folder for sources, objects and zig's local cache.

    Raises:
        ToolchainError: zig is wanted and the package ``ziglang`` is not installed.
    """
    flags = (
        *_COMPILE_FLAGS,
        "-Os" if small else "-O2",
        *(() if target.is_bare_metal else ("-fPIC",)),
    )
    own_flags = tuple(target.toolchain.cflags)
    if cc is not None:
        words = tuple(shlex.split(cc))
        if not words:
            raise ToolchainError("--cc is empty", "Give a compiler, for example `--cc gcc`.")
        clang = "clang" in words[0]
        gcc_flags = (_CLANG_SMALL_FLAGS if small else ()) if clang else _GCC_COMPILE_FLAGS
        return Toolchain((*words, *own_flags), (*flags, *gcc_flags), {}, folder, small)
    if importlib.util.find_spec("ziglang") is None:
        raise ToolchainError(
            "the linker (Python package ziglang) is not installed",
            "Run `pip install ziglang`, or name a C compiler with --cc.",
        )
    command: tuple[str, ...] = (
        sys.executable,
        "-m",
        "ziglang",
        "cc",
        "-target",
        target.toolchain.zig_target,
    )
    if target.toolchain.zig_cpu:
        command += (f"-mcpu={target.toolchain.zig_cpu}",)
    env = {
        "ZIG_LOCAL_CACHE_DIR": str(folder / "zig"),
        "ZIG_GLOBAL_CACHE_DIR": str(_cache_folder(folder)),
    }
    if small:
        flags += _CLANG_SMALL_FLAGS
    return Toolchain((*command, *own_flags), (*flags, *_ZIG_COMPILE_FLAGS), env, folder, small)


def _cache_folder(fallback: Path) -> Path:
    """Where zig keeps what it builds once per target (libc stubs, compiler-rt)."""
    given = os.environ.get("ZIG_GLOBAL_CACHE_DIR")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(base) if base else Path.home() / ".cache") / "fpc" / "zig"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):
        return fallback / "zig-global"
