from __future__ import annotations

import io

import pytest
from elftools.elf.elffile import ELFFile

from footprint_compiler.codegen.footprint import Footprint, measure_code, measure_context
from footprint_compiler.codegen.sections import linked_sections
from footprint_compiler.errors import CodegenError

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
    kept = size_of(one, ".text.k", ".rodata.own") + size_of(two, ".text.other", ".rodata.table")
    assert measure_code([one, two], ["k"]) == kept
    assert measure_code([one, two], ["k", "lonely"]) == kept + size_of(two, ".text.lonely")


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
    footprint = Footprint(1000, 200, 64, 32, 24)
    assert footprint.as_json() == {
        "ram": {
            "arena_bytes": 64,
            "stack_bytes": 32,
            "context_bytes": 24,
            "static_bytes": 0,
            "total_bytes": 120,
        },
        "flash": {"code_bytes": 1000, "weights_bytes": 200, "total_bytes": 1200},
    }
