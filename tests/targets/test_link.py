"""What TVM and zig compile for a target must agree: same machine, same float ABI, and it links."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from footprint_compiler.runners.compile import run_zig
from footprint_compiler.targets import Target, list_targets, load_target

NAMES = [target.name for target in list_targets() if target.name != "native"]

#: Tags of the Arm ABI (Addenda to, and errata in, the ABI) that must be the same on both sides.
SAME = ("CPU_ARCH", "CPU_ARCH_PROFILE", "FP_ARCH", "ADVANCED_SIMD_ARCH", "ABI_VFP_ARGS", "MVE_ARCH")
ARCHITECTURE = {
    "armv7": "v7-A",
    "cortex-a7": "v7-A",
    "cortex-m0plus": "v6S-M",
    "cortex-m3": "v7-M",
    "cortex-m4": "v7E-M",
    "cortex-m7": "v7E-M",
    "cortex-m33": "v8-M.mainline",
    "cortex-m55": "v8.1-M.mainline",
}
CPU_ARCH = {10: "v7", 12: "v6S-M", 13: "v7E-M", 17: "v8-M.mainline", 21: "v8.1-M.mainline"}

C_SOURCE = """
extern void scale_float(const float *, float *);
extern void scale_int8(const signed char *, signed char *);
float half(float x) { return x * 0.5f; }
void both(const float *a, float *b, const signed char *c, signed char *d)
{
    scale_float(a, b);
    scale_int8(c, d);
}
"""


def write_tvm_object(target: Target, path: Path) -> None:
    """A float and an int8 kernel through TVM's LLVM."""
    import tvm
    from tvm import te

    x = te.placeholder((64,), "float32", name="x")
    y = te.compute((64,), lambda i: x[i] * x[63 - i], name="y")
    a = te.placeholder((64,), "int8", name="a")
    b = te.compute((64,), lambda i: a[i] + a[63 - i], name="b")
    functions = {
        "scale_float": te.create_prim_func([x, y]).with_attr("global_symbol", "scale_float"),
        "scale_int8": te.create_prim_func([a, b]).with_attr("global_symbol", "scale_int8"),
    }
    built = tvm.compile(tvm.IRModule(functions), target=tvm.target.Target(dict(target.tvm)))
    built.mod.write_to_file(str(path), "o")


def read_elf(path: Path) -> tuple[str, int, dict[str, Any]]:
    """Machine, flags and the attributes of Arm or RISC-V of an ELF file."""
    with path.open("rb") as file:
        elf = ELFFile(file)
        section = elf.get_section_by_name(".ARM.attributes")
        section = section or elf.get_section_by_name(".riscv.attributes")
        found: dict[str, Any] = {}
        for part in section.iter_subsections() if section is not None else ():
            for scope in part.iter_subsubsections():
                for attribute in scope.iter_attributes():
                    found[str(attribute.tag).removeprefix("TAG_")] = attribute.value
        return str(elf["e_machine"]), int(elf["e_flags"]), found


@pytest.mark.parametrize("name", NAMES)
def test_objects_of_tvm_and_zig_agree_and_link(name: str, tmp_path: Path) -> None:
    target = load_target(name)
    write_tvm_object(target, tmp_path / "tvm.o")
    (tmp_path / "entry.c").write_text(C_SOURCE, encoding="utf-8")
    triple, cpu = target.toolchain.zig_target, f"-mcpu={target.toolchain.zig_cpu}"
    flags = ["-O2", "-fPIC", "-ffreestanding", *target.toolchain.cflags]
    run_zig(["cc", "-target", triple, cpu, *flags, "-c", "entry.c", "-o", "entry.o"], tmp_path)
    machine, flags_of_tvm, of_tvm = read_elf(tmp_path / "tvm.o")
    assert read_elf(tmp_path / "entry.o")[0] == machine
    of_zig = read_elf(tmp_path / "entry.o")[2]
    assert {tag: of_tvm.get(tag) for tag in SAME} == {tag: of_zig.get(tag) for tag in SAME}

    run_zig(["ld.lld", "-r", "tvm.o", "entry.o", "-o", "both.o"], tmp_path)
    _, flags_of_both, linked = read_elf(tmp_path / "both.o")
    if machine == "EM_RISCV":
        extensions = {"esp32-c3": "imc", "esp32-c6": "imac", "esp32-p4": "imafc"}[name]
        assert flags_of_tvm == flags_of_both == {"ilp32": 1, "ilp32f": 3}[target.tvm["mabi"]]
        for attributes in (of_tvm, of_zig, linked):
            words = attributes["ARCH"].removeprefix("rv32").split("_")
            assert "".join(word[0] for word in words if word[0] != "z") == extensions
            assert attributes["STACK_ALIGN"] == 16
        return
    if machine != "EM_ARM":
        assert name not in ARCHITECTURE
        return
    assert flags_of_tvm >> 24 == 5, "EABI version 5"
    hard = target.tvm["mfloat-abi"] == "hard"
    assert linked.get("ABI_VFP_ARGS", 0) == int(hard)
    profile = f"{CPU_ARCH[linked['CPU_ARCH']]}-{chr(linked['CPU_ARCH_PROFILE'])}"
    assert profile in (ARCHITECTURE[name], f"{ARCHITECTURE[name]}-M")
