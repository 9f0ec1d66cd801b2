"""What a bare-metal library holds and needs, from its objects and from linked programs."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection

import footprint_compiler as fpc
from footprint_compiler import runners
from footprint_compiler.codegen.elf_check import undefined_symbols
from footprint_compiler.codegen.machine_code import UNKNOWN, read_functions
from footprint_compiler.errors import UsageError
from footprint_compiler.targets import list_targets, load_target
from tests.e2e.small_net import small_net
from tests.targets.test_link import ARCHITECTURE, CPU_ARCH, read_elf

CORES = [target.name for target in list_targets() if target.is_bare_metal]
MEMORY = {"memcpy", "memset", "__aeabi_memcpy", "__aeabi_memcpy4", "__aeabi_memclr"}
#: Without a product of 64 bits, requantization in TIR needs this one.
HELPERS = {"cortex-m0plus": {"__aeabi_lmul"}}
#: They change what interrupts may do, or enter another mode.
SYSTEM = ("cps", "msr", "mrs", "svc", "bkpt", "wfi", "wfe", "sev", "udf", "bxns", "blxns", "hvc")
SYSTEM += (
    "csr",
    "ecall",
    "ebreak",
    "c.ebreak",
    "mret",
    "uret",
    "sret",
    "fence",
    "unimp",
    "c.unimp",
)

RISCV_EXTENSIONS = {"esp32-c3": "imc", "esp32-c6": "imac", "esp32-p4": "imafc"}
#: Flags of an ELF file, RISC-V ABIs specification: compressed instructions 1, single float ABI 2.
RISCV_FLAGS = {"ilp32": 1, "ilp32f": 3}
R_RISCV_ALIGN, R_RISCV_RELAX = 43, 51

#: gcc's flags for a target; the float ABI is that of the library.
GCC_FPU = {"cortex-m4": "fpv4-sp-d16", "cortex-m7": "fpv5-sp-d16", "cortex-m33": "fpv5-sp-d16"}

SCRIPT = """
MEMORY
{
  flash (rx) : ORIGIN = 0x08000000, LENGTH = 1M
  ospi (r) : ORIGIN = 0x90000000, LENGTH = 1M
  dtcm (rw) : ORIGIN = 0x20000000, LENGTH = 64K
  sram (rw) : ORIGIN = 0x24000000, LENGTH = 512K
}
SECTIONS
{
  .text : { *(.text .text.*) } > flash
  .ARM.extab : { *(.ARM.extab*) } > flash
  .ARM.exidx : { *(.ARM.exidx*) } > flash
  .rodata : { *(.rodata .rodata.*) } > flash
  .ext : { *(.ext_flash) } > ospi
  .tcm (NOLOAD) : { *(.bss.dtcm) } > dtcm
  .data : { *(.data .data.*) } > sram
  .bss (NOLOAD) : { *(.bss .bss.* COMMON) } > sram
}
"""
PROGRAM = """
#include "net.h"
unsigned char arena[NET_ARENA_BYTES] NET_ARENA_ATTRIBUTES;
net_ctx context;
int once(void);
int once(void)
{
    int code = net_init(&context, arena, sizeof arena);
    return code == NET_OK ? net_invoke(&context) : code;
}
void *memcpy(void *to, const void *from, size_t count);
void *memcpy(void *to, const void *from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ((volatile unsigned char *)to)[i] = ((const volatile unsigned char *)from)[i];
    }
    return to;
}
void *memset(void *to, int value, size_t count);
void *memset(void *to, int value, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ((volatile unsigned char *)to)[i] = (unsigned char)value;
    }
    return to;
}
#if defined(__ARM_ARCH_6M__) /* of the compiler's own library, which is not linked here */
long long __aeabi_lmul(long long a, long long b);
long long __aeabi_lmul(long long a, long long b)
{
    return a ^ b;
}
#endif
"""


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], fpc.Artifact]:
    """``build(core)``: the small network with sections of its own, built once for each core."""
    folder = tmp_path_factory.mktemp("net")
    onnx.save(small_net()[1], folder / "net.onnx")
    options = fpc.BuildOptions(
        name="net", arena_section=".bss.dtcm", weights_section=".ext_flash", solve_nodes=0
    )
    return cache(lambda core: fpc.build(folder / "net.onnx", core, options, folder / core))


def objects_of(artifact: fpc.Artifact, folder: Path) -> list[Path]:
    archive = artifact.path / artifact.manifest["files"]["static_library"]
    command = [sys.executable, "-m", "ziglang", "ar", "x", str(archive.resolve())]
    subprocess.run(command, cwd=folder, check=True)
    return sorted(folder.glob("*.o"))


@pytest.mark.parametrize("core", CORES)
def test_objects(build: Callable[[str], fpc.Artifact], core: str, tmp_path: Path) -> None:
    objects = objects_of(build(core), tmp_path)
    data = [path.read_bytes() for path in objects]
    sections = [s.name for one in data for s in ELFFile(io.BytesIO(one)).iter_sections()]
    assert not [name for name in sections if name.startswith((".ARM.ex", ".eh_frame", ".data"))]
    wanted = {name for one in data for name in undefined_symbols(one)} - {"net_weights"}
    assert wanted <= MEMORY | HELPERS.get(core, set())
    code = next(one for path, one in zip(objects, data, strict=True) if path.name == "code.o")
    functions = read_functions(code)
    assert {"net_init", "net_invoke"} <= {function.name for function in functions}
    for function in functions:
        words = [one.mnemonic for one in function.instructions.values()]
        assert not [word for word in words if word.startswith(SYSTEM)], function.name
        # The disassembler knows all of Thumb but some of MVE and its loops.
        assert core == "cortex-m55" or UNKNOWN not in words, function.name


@pytest.mark.parametrize("core", CORES)
def test_attributes(build: Callable[[str], fpc.Artifact], core: str, tmp_path: Path) -> None:
    (code,) = (path for path in objects_of(build(core), tmp_path) if path.name == "code.o")
    machine, flags, attributes = read_elf(code)
    hard = load_target(core).tvm["mfloat-abi"] == "hard"
    if machine == "EM_RISCV":
        check_riscv(core, flags, attributes, code)
        return
    assert flags >> 24 == 5, "EABI version 5"
    assert attributes.get("ABI_VFP_ARGS", 0) == int(hard)
    assert ("FP_ARCH" in attributes) == hard
    assert ("MVE_ARCH" in attributes) == (core == "cortex-m55")
    assert chr(attributes["CPU_ARCH_PROFILE"]) == "M"
    assert ARCHITECTURE[core].startswith(CPU_ARCH[attributes["CPU_ARCH"]])
    assert attributes.get("CPU_UNALIGNED_ACCESS", 0) == 0


def check_riscv(core: str, flags: int, attributes: dict[str, Any], code: Path) -> None:
    """Extensions and float ABI of the core, and nothing that a linker would change in length."""
    assert flags == RISCV_FLAGS[load_target(core).tvm["mabi"]]
    extensions = {word[0] for word in attributes["ARCH"].split("_")[1:] if word[0] != "z"}
    assert attributes["ARCH"].startswith("rv32i2p")
    assert {"i", *extensions} == set(RISCV_EXTENSIONS[core])
    assert attributes["STACK_ALIGN"] == 16
    assert attributes.get("UNALIGNED_ACCESS", 0) == 0
    elf = ELFFile(io.BytesIO(code.read_bytes()))
    kinds = {
        entry["r_info_type"]
        for section in elf.iter_sections()
        if isinstance(section, RelocationSection)
        for entry in section.iter_relocations()
    }
    assert kinds
    assert not kinds & {R_RISCV_ALIGN, R_RISCV_RELAX}


@pytest.mark.parametrize("core", CORES)
def test_same_bytes_as_here(
    build: Callable[[str], fpc.Artifact], needs_emulator: Callable[[str], None], core: str
) -> None:
    needs_emulator(core)
    inputs = small_net()[0].inputs
    expected = runners.run(build("x86-64"), inputs).outputs
    found = runners.run(build(core), inputs).outputs
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def linker(tool: str, core: str) -> list[str]:
    """The command of a toolchain that compiles and links for a core."""
    toolchain = load_target(core).toolchain
    if tool == "zig":
        command = [sys.executable, "-m", "ziglang", "cc", "-target", toolchain.zig_target]
        return [*command, f"-mcpu={toolchain.zig_cpu}"]
    if core in RISCV_EXTENSIONS:
        abi = [f"-march=rv32{RISCV_EXTENSIONS[core]}", f"-mabi={load_target(core).tvm['mabi']}"]
        if tool == "gcc":
            return [program_of("riscv64-unknown-elf-gcc"), *abi]
        return [program_of("clang"), "--target=riscv32-unknown-elf", "-fuse-ld=lld", *abi]
    program = program_of({"gcc": "arm-none-eabi-gcc", "clang": "clang"}[tool])
    hard = load_target(core).tvm["mfloat-abi"] == "hard"
    abi = ["-mthumb", f"-mfloat-abi={'hard' if hard else 'soft'}", f"-mcpu={core}"]
    abi += [f"-mfpu={GCC_FPU[core]}"] if core in GCC_FPU else []
    return [program, *(["--target=arm-none-eabi", "-fuse-ld=lld"] if tool == "clang" else []), *abi]


def program_of(program: str) -> str:
    """The compiler driver; skips the test where it, or the linker that it needs, is missing."""
    for needed in (program, *(("ld.lld",) if program == "clang" else ())):
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not installed")
    return program


@pytest.mark.parametrize("tool", ["gcc", "clang", "zig"])
@pytest.mark.parametrize(
    "core", ["cortex-m0plus", "cortex-m4", "cortex-m7", "cortex-m55", "esp32-c3", "esp32-p4"]
)
def test_linked_where_the_script_says(
    build: Callable[[str], fpc.Artifact], core: str, tool: str, tmp_path: Path
) -> None:
    command = linker(tool, core)
    built = build(core)
    (tmp_path / "memory.ld").write_text(SCRIPT)
    (tmp_path / "program.c").write_text(PROGRAM)
    strict = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
    command += ["-std=c11", "-O1", "-ffreestanding", "-fno-builtin", *strict]
    command += [f"-I{built.path.resolve()}", "-nostdlib", "-T", "memory.ld", "-Wl,-e,once"]
    library = built.path.resolve() / built.manifest["files"]["static_library"]
    done = subprocess.run(
        [*command, "program.c", str(library), "-o", "program.elf"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with (tmp_path / "program.elf").open("rb") as file:
        elf = ELFFile(file)
        symbols = {
            one.name: one["st_value"] for one in elf.get_section_by_name(".symtab").iter_symbols()
        }
        arena = elf.get_section_by_name(".tcm")
        assert arena["sh_type"] == "SHT_NOBITS"
        assert symbols["arena"] == arena["sh_addr"] == 0x20000000
        weights = elf.get_section_by_name(".ext")
        flash = built.manifest["footprint"]["flash"]
        assert weights["sh_addr"] == 0x90000000
        assert weights["sh_size"] == flash["weights_bytes"]
        assert 0x08000000 <= symbols["net_invoke"] < 0x08100000
        assert 0x24000000 <= symbols["context"] < 0x24080000


@pytest.mark.parametrize("language", ["c99", "c11", "c++11", "c++17"])
def test_the_header_compiles_without_a_warning(
    build: Callable[[str], fpc.Artifact], language: str, tmp_path: Path
) -> None:
    suffix = "cpp" if "+" in language else "c"
    (tmp_path / f"user.{suffix}").write_text(PROGRAM.split("void *memcpy")[0])
    strict = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wsign-conversion", "-Werror"]
    commands = [linker("zig", "cortex-m4")]
    for gcc in ("gcc", "arm-none-eabi-gcc"):
        commands += [[gcc]] if shutil.which(gcc) else []
    for command in commands:
        command += [f"-std={language}", *strict, f"-I{build('cortex-m4').path.resolve()}"]
        done = subprocess.run(
            [*command, "-c", f"user.{suffix}", "-o", "user.o"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "options",
    [
        {"arena_section": "two words"},
        {"weights_section": 'a"b'},
        {"weights_section": ".x", "weights": "extern"},
    ],
)
def test_sections_that_cannot_be(digits: Path, tmp_path: Path, options: dict[str, str]) -> None:
    chosen = fpc.BuildOptions(name="net", solve_nodes=0, **options)
    with pytest.raises(UsageError, match="section"):
        fpc.build(digits, "cortex-m4", chosen, tmp_path / "net")
    assert not (tmp_path / "net").exists()
