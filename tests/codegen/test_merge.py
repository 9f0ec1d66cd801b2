from __future__ import annotations

import io
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from footprint_compiler.codegen.archive import defined_symbols
from footprint_compiler.codegen.footprint import measure_code
from footprint_compiler.codegen.merge import merge_objects
from footprint_compiler.codegen.toolchain import find_toolchain
from footprint_compiler.targets import list_targets, load_target

from .samples import zig_object

CORES = [target.name for target in list_targets() if target.is_bare_metal]
SPLIT = ("-ffunction-sections", "-fdata-sections", "-funwind-tables")
ENTRY = """
int kernel(int); int other(int);
int net_invoke(int x) { return kernel(x) + 1; }
int net_init(int x) { return x; }
__attribute__((weak)) int helper(int x) { return x / 3; }
"""
KERNEL = """
static const int table[4] = {1, 2, 3, 4};
int kernel(int i) { return table[i & 3]; }
int unused(int i) { return kernel(i) * 17; }
"""


def sections(data: bytes) -> list[str]:
    return [section.name for section in ELFFile(io.BytesIO(data)).iter_sections()]


@pytest.mark.parametrize("core", CORES)
def test_one_object_without_unwinding_and_without_what_nothing_reaches(
    core: str, tmp_path: Path
) -> None:
    parts = [zig_object(ENTRY, core, *SPLIT, "-g"), zig_object(KERNEL, core, *SPLIT)]
    tables = (".ARM.exidx", ".eh_frame")
    assert any(name.startswith(tables) for part in parts for name in sections(part))
    roots = ["net_invoke", "net_init"]
    (merged,) = merge_objects(parts, roots, find_toolchain(load_target(core), None, tmp_path))
    assert not [name for name in sections(merged) if name.startswith((*tables, ".debug"))]
    assert set(defined_symbols(merged)) == {"net_invoke", "net_init", "kernel"}
    code, constants = measure_code([merged], roots)
    assert (code, constants) == (measure_code(parts, roots).code_bytes, 16)


@pytest.mark.parametrize("core", ["cortex-m4", "esp32-p4"])
def test_the_processor_of_the_first_object_stays_in_the_attributes(
    core: str, tmp_path: Path
) -> None:
    parts = [zig_object(ENTRY, core, *SPLIT), zig_object(KERNEL, core, *SPLIT)]
    toolchain = find_toolchain(load_target(core), None, tmp_path)
    (merged,) = merge_objects(parts, ["net_invoke"], toolchain)
    both = [ELFFile(io.BytesIO(data)) for data in (parts[0], merged)]
    name = ".riscv.attributes" if core == "esp32-p4" else ".ARM.attributes"
    tables = [elf.get_section_by_name(name).data() for elf in both]
    assert tables[0] == tables[1]
    assert both[0]["e_flags"] == both[1]["e_flags"]
