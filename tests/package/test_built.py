"""Packages that can be built here are built, and their examples run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from footprint_compiler import runners
from footprint_compiler.package.contents import Contents
from footprint_compiler.package.forms import FORMS
from footprint_compiler.package.write import write_package
from footprint_compiler.runners.boards import Parts, linker_script, place_parts
from tests.package.conftest import ZIG

SOURCES = Path(runners.__file__).parent
BOARD = "mps2-an386"
BARE = f"{ZIG} -target thumb-freestanding-eabihf -mcpu=cortex_m4+vfp4d16sp -ffreestanding"
GNU = "arm-none-eabi-gcc"
STARTUP = (str(SOURCES / "startup.c"), str(SOURCES / "port_semihosting.c"))


def run(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ZIG_LOCAL_CACHE_DIR": str(folder / "zig")}
    return subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def need(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


def board_script(folder: Path) -> Path:
    file = folder / "board.ld"
    parts = Parts(40_000, 60_000, 4096, 4096, 0)
    file.write_text(linker_script(BOARD, place_parts(BOARD, parts)))
    return file


def emulate(program: Path, folder: Path) -> int:
    options = ["-nographic", "-monitor", "none", "-serial", "none"]
    target = ["-semihosting-config", "enable=on,target=native", "-kernel", program]
    return run("qemu-system-arm", "-M", BOARD, *options, *target, folder=folder).returncode


@pytest.mark.parametrize("weights", ["flash", "extern"])
def test_make_builds_and_runs_here(
    weights: str, contents_for: Callable[..., Contents], tmp_path: Path
) -> None:
    need("make")
    contents = contents_for("native", weights)
    write_package(tmp_path / "p", "make", FORMS["make"](contents))
    made = run("make", "run", f"CC={ZIG}", folder=tmp_path / "p")
    assert made.returncode == 0, made.stderr
    assert "digits: 2 test vectors, all outputs right" in made.stdout


def test_a_wrong_output_is_seen(contents_for: Callable[..., Contents], tmp_path: Path) -> None:
    need("make")
    files = FORMS["make"](contents_for("native"))
    check = files["example/digits_check.c"]
    start = check.index(b"output_0[80] = {\n") + len(b"output_0[80] = {\n    ")
    files["example/digits_check.c"] = (
        check[:start] + b"255,255,255,63," + check[start:].split(b",", 4)[4]
    )
    write_package(tmp_path / "p", "make", files)
    made = run("make", "run", f"CC={ZIG}", folder=tmp_path / "p")
    assert made.returncode != 0
    assert "digits: failed with code 100" in made.stdout


@pytest.mark.parametrize("compiler", ["zig", "gnu"])
def test_make_builds_for_a_board(
    compiler: str, contents_for: Callable[..., Contents], tmp_path: Path
) -> None:
    need("make")
    contents = contents_for("cortex-m4")
    write_package(tmp_path / "p", "make", FORMS["make"](contents))
    script = board_script(tmp_path)
    options = [f"SOURCES={' '.join(STARTUP)}"]
    if compiler == "gnu":
        need(GNU)
        options += [f"LDFLAGS=-T {script} -nostdlib", "LDLIBS=-lgcc"]
        options += ["CFLAGS=-O2 -Wall -Wextra -Werror -ffreestanding -Wl,-z,noexecstack"]
        options[0] += f" {copies(tmp_path)}"
    else:
        options += [f"CC={BARE}", "CPUFLAGS=", f"LDFLAGS=-T {script}"]
    made = run("make", *options, folder=tmp_path / "p")
    assert made.returncode == 0, made.stderr
    assert "warning" not in made.stderr, made.stderr
    assert emulate(tmp_path / "p" / "build" / "example.elf", tmp_path) == 0


def copies(folder: Path) -> Path:
    """``memcpy`` and ``memset``, which GCC may call and which a C library would bring."""
    file = folder / "copies.c"
    file.write_text(
        "#include <stddef.h>\n"
        "void *memcpy(void *to, const void *from, size_t n) { unsigned char *t = to;\n"
        'const unsigned char *f = from; while (n--) { *t++ = *f++; __asm__(""); } return to; }\n'
        "void *memset(void *to, int c, size_t n) { unsigned char *t = to;\n"
        'while (n--) { *t++ = (unsigned char)c; __asm__(""); } return to; }\n'
    )
    return file


def test_cmake_builds_and_tests_here(contents_for: Callable[..., Contents], tmp_path: Path) -> None:
    need("cmake")
    write_package(tmp_path / "p", "cmake", FORMS["cmake"](contents_for("native")))
    compiler = tmp_path / "cc"
    compiler.write_text(f'#!/bin/sh\nexec {ZIG} "$@"\n')
    compiler.chmod(0o755)
    for command in (
        ["cmake", "-S", "p/example", "-B", "b", f"-DCMAKE_C_COMPILER={compiler}"],
        ["cmake", "--build", "b"],
        ["ctest", "--test-dir", "b", "--output-on-failure"],
    ):
        done = run(*command, folder=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


def test_cmake_builds_for_a_board(contents_for: Callable[..., Contents], tmp_path: Path) -> None:
    need("cmake")
    need(GNU)
    contents = contents_for("cortex-m4")
    write_package(tmp_path / "p", "cmake", FORMS["cmake"](contents))
    flags = " ".join(contents.machine.flags)
    (tmp_path / "board.cmake").write_text(
        "set(CMAKE_SYSTEM_NAME Generic)\n"
        f"set(CMAKE_C_COMPILER {GNU})\n"
        "set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)\n"
        f'set(CMAKE_C_FLAGS_INIT "{flags} -ffreestanding")\n'
    )
    script = board_script(tmp_path)
    sources = ";".join([*STARTUP, str(copies(tmp_path))])
    for command in (
        [
            "cmake",
            "-S",
            "p/example",
            "-B",
            "b",
            "-DCMAKE_TOOLCHAIN_FILE=" + str(tmp_path / "board.cmake"),
            f"-DDIGITS_BOARD_SOURCES={sources}",
            f"-DCMAKE_EXE_LINKER_FLAGS=-T {script} -nostdlib -Wl,-z,noexecstack",
            "-DCMAKE_C_STANDARD_LIBRARIES=-lgcc",
        ],
        ["cmake", "--build", "b"],
    ):
        done = run(*command, folder=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    assert emulate(tmp_path / "b" / "digits_example", tmp_path) == 0


@pytest.mark.parametrize("form", ["zephyr", "arduino", "platformio", "cmsis-pack"])
def test_the_other_forms_compile_with_the_same_flags(
    form: str, contents_for: Callable[..., Contents], tmp_path: Path
) -> None:
    write_package(tmp_path / "p", form, FORMS[form](contents_for("cortex-m4")))
    folders = {f"-I{path.parent}" for path in (tmp_path / "p").rglob("*.h")}
    sources = sorted((tmp_path / "p").rglob("*.c"))
    archive = next((tmp_path / "p").rglob("*.a"))
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", *sorted(folders)]
    sources += [Path(STARTUP[0]), Path(STARTUP[1])]
    script = board_script(tmp_path)
    main = tmp_path / "start.c"
    if not any(path.name == "main.c" for path in sources):
        main.write_text('#include "digits_check.h"\nint main(void) { return digits_check(); }\n')
        sources.append(main)
    out = tmp_path / "example.elf"
    command = [*BARE.split(), *flags, *sources, archive, "-T", script, "-o", out]
    made = run(*command, folder=tmp_path)
    assert made.returncode == 0, made.stderr
    assert emulate(out, tmp_path) == 0
