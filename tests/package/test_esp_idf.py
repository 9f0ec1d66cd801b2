"""The ESP-IDF component: its metadata by the published rules, its CMake files by stand-ins for the
functions of ESP-IDF, and its example in the emulator with the flags of the chip.

There is no ESP-IDF here and no board: what the stand-ins do is what its build system guide says.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from footprint_compiler import runners
from footprint_compiler.errors import UsageError
from footprint_compiler.package.contents import Contents, Label
from footprint_compiler.package.esp_idf import esp_idf_files
from footprint_compiler.package.write import write_package
from tests.package.conftest import ZIG
from tests.package.test_built import need, run

SOURCES = Path(runners.__file__).parent

#: Of the schema of the IDF Component Manager: targets, keys of the manifest and of a dependency.
TARGETS = """
    esp32 esp32s2 esp32c3 esp32s3 esp32c2 esp32c5 esp32c6 esp32c61 esp32h2 esp32h21 esp32h4 esp32p4
    linux
"""
KEYS = """
    version targets maintainers description license tags dependencies files examples url repository
    documentation issues discussion repository_info
"""
#: A component's name: letters and digits, with single dashes or underscores between them.
SLUG = re.compile(r"[A-Za-z0-9]+([-_]?[A-Za-z0-9]+)+")

#: What ESP-IDF compiles with, from its toolchain files; zig names a CPU instead.
CHIPS = {
    "esp32-c3": ("esp32c3", "-march=rv32imc_zicsr_zifencei -mabi=ilp32", "+m+c"),
    "esp32-c6": ("esp32c6", "-march=rv32imac_zicsr_zifencei -mabi=ilp32", "+m+a+c"),
    "esp32-p4": ("esp32p4", "-march=rv32imafc_zicsr_zifencei -mabi=ilp32f", "+m+a+f+c"),
}

#: The functions of ESP-IDF that the files call, around CMake's own.
STAND_INS = """
function(idf_component_register)
  cmake_parse_arguments(_ "" "" "SRCS;INCLUDE_DIRS;REQUIRES;PRIV_REQUIRES" ${ARGN})
  if(DEFINED __UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "unknown arguments: ${__UNPARSED_ARGUMENTS}")
  endif()
  get_filename_component(name "${CMAKE_CURRENT_SOURCE_DIR}" NAME)
  set(COMPONENT_LIB "__idf_${name}" PARENT_SCOPE)
  set(kind PUBLIC)
  if(__SRCS)
    add_library(__idf_${name} STATIC ${__SRCS})
  else()
    add_library(__idf_${name} INTERFACE)
    set(kind INTERFACE)
  endif()
  foreach(folder ${__INCLUDE_DIRS})
    get_filename_component(folder "${folder}" ABSOLUTE)
    if(NOT IS_DIRECTORY "${folder}")
      message(FATAL_ERROR "no folder ${folder}")
    endif()
    target_include_directories(__idf_${name} ${kind} "${folder}")
  endforeach()
endfunction()
function(add_prebuilt_library target file)
  get_filename_component(file "${file}" ABSOLUTE)
  if(NOT EXISTS "${file}")
    message(FATAL_ERROR "no file ${file}")
  endif()
  add_library(${target} STATIC IMPORTED GLOBAL)
  set_property(TARGET ${target} PROPERTY IMPORTED_LOCATION "${file}")
endfunction()
function(idf_build_get_property variable property)
  set(${variable} "${${property}}" PARENT_SCOPE)
endfunction()
"""
#: Stands in for ``project.cmake``: the component of the project, those of EXTRA_COMPONENT_DIRS.
PROJECT = """
include("${CMAKE_CURRENT_LIST_DIR}/stand_ins.cmake")
macro(project name)
  _project(${name} C)
  set(count 0)
  foreach(folder main ${EXTRA_COMPONENT_DIRS})
    math(EXPR count "${count} + 1")
    get_filename_component(folder "${folder}" ABSOLUTE)
    get_filename_component(component "${folder}" NAME)
    add_subdirectory("${folder}" component${count})
    list(APPEND components __idf_${component})
  endforeach()
  target_link_libraries(__idf_main PUBLIC __idf_packed)
  get_filename_component(root "${CMAKE_SOURCE_DIR}/../../.." ABSOLUTE)
  add_executable(${name}.elf "${root}/start.c" "${root}/port.c")
  target_link_libraries(${name}.elf PRIVATE ${components})
endmacro()
"""
#: Calls ``app_main`` as ESP-IDF's main task does, with the one conversion that it prints.
START = """
#include <stdarg.h>
#include <string.h>
#include "port.h"
void app_main(void);
static int right;
int printf(const char *format, ...);
int printf(const char *format, ...)
{
    char text[200];
    size_t at = 0;
    va_list more;
    va_start(more, format);
    for (; *format != 0 && at < sizeof text - 12; format++) {
        if (format[0] == '%' && format[1] == 'd') {
            int value = va_arg(more, int), scale = 1;
            while (value / scale >= 10)
                scale *= 10;
            for (; scale > 0; scale /= 10)
                text[at++] = (char)('0' + value / scale % 10);
            format++;
        } else {
            text[at++] = *format;
        }
    }
    va_end(more);
    text[at] = 0;
    right |= strstr(text, "all outputs right") != NULL;
    port_say(text);
    return (int)at;
}
char *strstr(const char *text, const char *part)
{
    for (; *text != 0; text++) {
        size_t i = 0;
        while (part[i] != 0 && text[i] == part[i])
            i++;
        if (part[i] == 0)
            return (char *)text;
    }
    return NULL;
}
int main(void);
int main(void)
{
    app_main();
    return right ? 0 : 1;
}
"""
FREESTANDING = {
    "stdio.h": "int printf(const char *format, ...) __attribute__((format(printf, 1, 2)));\n",
    "string.h": "char *strstr(const char *text, const char *part);\n",
}
COPIES = """
#include <stddef.h>
void *memcpy(void *to, const void *from, size_t n);
void *memcpy(void *to, const void *from, size_t n)
{
    unsigned char *t = to;
    const unsigned char *f = from;
    while (n--) { *t++ = *f++; __asm__(""); }
    return to;
}
void *memset(void *to, int c, size_t n);
void *memset(void *to, int c, size_t n)
{
    unsigned char *t = to;
    while (n--) { *t++ = (unsigned char)c; __asm__(""); }
    return to;
}
"""


def read_manifest(contents: Contents) -> dict[str, Any]:
    """``idf_component.yml``, of YAML what stands in it: texts, lists and tables of texts."""
    found: dict[str, Any] = {}
    last = ""
    for line in esp_idf_files(contents)["idf_component.yml"].decode().splitlines():
        key, _, value = line.strip().partition(": ")
        if line.startswith("  - "):
            found.setdefault(last, []).append(_text(line[4:]))
        elif line.startswith("  "):
            found.setdefault(last, {})[key] = _text(value)
        elif value:
            found[key] = _text(value)
        else:
            last = key.removesuffix(":")
    return found


def _text(value: str) -> str:
    return str(json.loads(value)) if value.startswith('"') else value


@pytest.mark.parametrize("target", [*CHIPS, "native"])
def test_metadata_follows_the_schema(target: str, contents_for: Callable[..., Contents]) -> None:
    contents = contents_for(target)
    manifest = read_manifest(contents)
    assert {"version", "description", "targets", "dependencies"} <= set(manifest)
    assert set(manifest) <= set(KEYS.split())
    assert re.fullmatch(r"\d+\.\d+\.\d+", manifest["version"])
    assert len(set(manifest["targets"])) == len(manifest["targets"])
    assert set(manifest["targets"]) <= set(TARGETS.split())
    assert (CHIPS[target][0] if target in CHIPS else "linux") in manifest["targets"]
    assert all(isinstance(one, str) for one in manifest["maintainers"])
    assert manifest["description"] == contents.summary
    for name, version in manifest["dependencies"].items():
        assert SLUG.fullmatch(name)
        assert re.fullmatch(r"(>=|~|\^)?\d+(\.\d+){0,2}|\*", version)


def test_labels_reach_the_metadata(contents_for: Callable[..., Contents]) -> None:
    contents = contents_for("esp32-c3")
    label = Label("2.1.0", "A B <a@b.cd>", "https://example.com/x", "MIT")
    changed = Contents(**{**vars(contents), "label": label})
    manifest = read_manifest(changed)
    assert manifest["version"] == "2.1.0"
    assert manifest["maintainers"] == ["A B <a@b.cd>"]
    assert manifest["url"] == "https://example.com/x"
    assert manifest["license"] == "MIT"


def test_only_chips_that_can_link_it_are_named(contents_for: Callable[..., Contents]) -> None:
    with pytest.raises(UsageError, match="ESP-IDF builds for Xtensa"):
        esp_idf_files(contents_for("cortex-m4"))
    chips = {}
    for target in CHIPS:
        chips[target] = set(read_manifest(contents_for(target))["targets"])
        settings = (
            esp_idf_files(contents_for(target))["examples/check/sdkconfig.defaults"]
            .decode()
            .splitlines()
        )
        assert settings[0] == f'CONFIG_IDF_TARGET="{CHIPS[target][0]}"'
        stack = contents_for(target).artifact.manifest["footprint"]["ram"]["stack_bytes"]
        assert int(settings[-1].removeprefix("CONFIG_ESP_MAIN_TASK_STACK_SIZE=")) >= 3584 + stack
    assert chips["esp32-c6"] < chips["esp32-c3"], "every core with atomics runs code without"
    assert not chips["esp32-p4"] & chips["esp32-c3"], "another float ABI"


def configured(
    contents: Contents, compiler: str, flags: str, folder: Path, chip: str, *more: str
) -> subprocess.CompletedProcess[str]:
    """The example's project, configured with the stand-ins."""
    write_package(folder / "packed", "esp-idf", esp_idf_files(contents))
    tools = folder / "idf" / "tools" / "cmake"
    tools.mkdir(parents=True)
    (tools / "stand_ins.cmake").write_text(STAND_INS)
    (tools / "project.cmake").write_text(PROJECT)
    headers = folder / "headers"
    headers.mkdir()
    for name, text in FREESTANDING.items():
        (headers / name).write_text(text)
    (folder / "start.c").write_text(START + COPIES)
    shutil.copy(SOURCES / "port_linux.c", folder / "port.c")
    wrapper = folder / "cc"
    wrapper.write_text(f'#!/bin/sh\nexec {compiler} "$@"\n')
    wrapper.chmod(0o755)
    options = f"{flags} -ffreestanding -fno-builtin -isystem {headers} -I{SOURCES}"
    (folder / "chip.cmake").write_text(
        "set(CMAKE_SYSTEM_NAME Generic)\n"
        f'set(CMAKE_C_COMPILER "{wrapper}")\n'
        "set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)\n"
        f'set(CMAKE_C_FLAGS_INIT "{options}")\n'
        'set(CMAKE_EXE_LINKER_FLAGS_INIT "-static -Wl,-e,_start")\n'
    )
    return cmake(folder, "-S", "packed/examples/check", f"-DIDF_TARGET={chip}", *more)


def cmake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """CMake with the stand-ins in the place of ESP-IDF; configures ``b``."""
    idf = f"IDF_PATH={folder / 'idf'}"
    toolchain = f"-DCMAKE_TOOLCHAIN_FILE={folder / 'chip.cmake'}"
    return run("env", idf, "cmake", *arguments, "-B", "b", toolchain, folder=folder)


@pytest.mark.parametrize(
    ("target", "compiler"),
    [("esp32-c3", "zig"), ("esp32-p4", "zig"), ("esp32-c3", "gcc"), ("esp32-c6", "gcc")],
)
def test_the_example_runs_with_the_flags_of_the_chip(
    target: str, compiler: str, contents_for: Callable[..., Contents], tmp_path: Path
) -> None:
    need("cmake")
    contents = contents_for(target)
    chip, flags, features = CHIPS[target]
    command = f"{ZIG} -target riscv32-freestanding-none -mcpu=generic_rv32{features}"
    strict = "-std=gnu17 -Og -Wall -Wextra -Werror -ffunction-sections -fdata-sections"
    if compiler == "gcc":
        command = "riscv64-unknown-elf-gcc"
        need(command)
        strict += f" {flags}"
    # Debian's GCC finds its library by the short name of the instruction set only.
    libgcc = f"-nostartfiles -nostdlib {' '.join(contents.machine.flags)} -lgcc"
    libraries = f"-DCMAKE_C_STANDARD_LIBRARIES={libgcc if compiler == 'gcc' else ''}"
    made = configured(contents, command, strict, tmp_path, chip, libraries)
    assert made.returncode == 0, made.stderr
    made = run("cmake", "--build", "b", folder=tmp_path)
    assert made.returncode == 0, made.stdout + made.stderr
    done = run("qemu-riscv32", tmp_path / "b" / "digits_check.elf", folder=tmp_path)
    assert done.stderr == "digits: 2 test vectors, all outputs right\n"
    assert done.returncode == 0


def test_another_chip_is_refused_when_it_is_configured(
    contents_for: Callable[..., Contents], tmp_path: Path
) -> None:
    need("cmake")
    command = f"{ZIG} -target riscv32-freestanding-none -mcpu=generic_rv32+m+c"
    made = configured(contents_for("esp32-c3"), command, "", tmp_path, "esp32p4")
    assert made.returncode != 0
    assert "libdigits.a is compiled for" in made.stderr
    assert "not for esp32p4" in " ".join(made.stderr.split())
