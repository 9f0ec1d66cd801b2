from __future__ import annotations

import io

import pytest
from elftools.elf.elffile import ELFFile

from footprint_compiler.codegen.footprint import Footprint, measure_code, measure_context
from footprint_compiler.codegen.pool_use import PoolUse, use_of_pools
from footprint_compiler.codegen.sections import linked_sections
from footprint_compiler.errors import CodegenError
from footprint_compiler.targets import load_target

from .samples import zig_object

USED = """
extern const short table[64]; int other(int);
static const int own[16] = {1, 2, 3};
int k(int i) { return own[i & 15] + table[i & 63] + other(i); }
int unused(int i) { return i * 17; }
"""
OTHER = (
    "const short table[64] = {5}; int other(int i) { return i + 3; } int lonely(void) { return 1; }"
)
SPLIT = ("-ffunction-sections", "-fdata-sections")


def size_of(data: bytes, *names: str) -> int:
    return sum(ELFFile(io.BytesIO(data)).get_section_by_name(name)["sh_size"] for name in names)


def test_code_is_what_the_roots_reach_over_all_objects() -> None:
    one, two = zig_object(USED, "x86-64", *SPLIT), zig_object(OTHER, "x86-64", *SPLIT)
    code = -size_of(one, ".text.k") // 16 * -16 + size_of(two, ".text.other")
    constants = size_of(one, ".rodata.own") + size_of(two, ".rodata.table")
    assert measure_code([one, two], ["k"]) == (code, constants)
    more = -code // 16 * -16 + size_of(two, ".text.lonely")
    assert measure_code([one, two], ["k", "lonely"]) == (more, constants)
    assert measure_code([one, two], []) == (0, 0)


def test_equal_constants_that_a_linker_may_merge_count_once() -> None:
    source = "double k{}(double x) {{ return x * 1.7 + {}; }}"
    one, two = (zig_object(source.format(i, f"{i}.3"), "x86-64", *SPLIT) for i in (1, 2))
    assert measure_code([one, two], ["k1"]).constants_bytes == 16
    assert measure_code([one, two], ["k1", "k2"]).constants_bytes == 24


def test_unwind_tables_count_with_the_code_that_they_describe() -> None:
    data = zig_object(USED + OTHER, "cortex-m4", *SPLIT, "-funwind-tables")
    names = {section.name for section in linked_sections([data], ["lonely"])}
    assert names == {".text.lonely", ".ARM.exidx.text.lonely"}


@pytest.mark.parametrize(
    "source",
    [
        "int counter; int k(void) { return counter++; }",
        "int start = 7; int k(void) { return start++; }",
    ],
)
def test_global_data_is_refused(source: str) -> None:
    with pytest.raises(CodegenError, match=r"4 bytes of global data in section \.(bss|data)"):
        measure_code([zig_object(source, "x86-64")], ["k"])


def test_context_is_two_pointers_and_a_padded_word() -> None:
    assert measure_context(zig_object("int k;", "arm64")) == 24
    assert measure_context(zig_object("int k;", "cortex-m4")) == 12


def test_totals() -> None:
    pool = PoolUse("sram", "ram", 4096, {"arena_bytes": 64, "stack_bytes": 32})
    footprint = Footprint(1000, 200, 64, 32, 24, constants_bytes=50, pools=(pool,))
    assert footprint.as_json() == {
        "ram": {
            "arena_bytes": 64,
            "stack_bytes": 32,
            "context_bytes": 24,
            "static_bytes": 0,
            "total_bytes": 120,
        },
        "flash": {
            "code_bytes": 1000,
            "constants_bytes": 50,
            "weights_bytes": 200,
            "total_bytes": 1250,
        },
        "pools": [
            {
                "name": "sram",
                "kind": "ram",
                "size_bytes": 4096,
                "used_bytes": 96,
                "parts": {"arena_bytes": 64, "stack_bytes": 32},
            }
        ],
    }


def test_each_part_lies_in_the_first_pool_that_holds_its_kind() -> None:
    footprint = Footprint(1000, 200, 64, 32, 24, constants_bytes=50)
    pools = use_of_pools(load_target("cortex-m7"), vars(footprint), {"sram": 64})
    assert {pool.name: dict(pool.parts) for pool in pools} == {
        "sram": {"arena_bytes": 64, "context_bytes": 24},
        "dtcm": {"stack_bytes": 32},
        "flash": {"code_bytes": 1000, "constants_bytes": 50, "weights_bytes": 200},
    }
    assert [pool.macro for pool in pools] == ["POOL_SRAM", "POOL_DTCM", "POOL_FLASH"]
    assert sum(pool.used_bytes for pool in pools) == footprint.ram_bytes + footprint.flash_bytes
