from __future__ import annotations

from footprint_compiler.codegen.flash_parts import FlashPart, flash_parts
from footprint_compiler.codegen.footprint import measure_code

from .samples import zig_object

SPLIT = ("-ffunction-sections", "-fdata-sections")
SOURCE = """
static const int table[64] = {1, 2, 3};
static __attribute__((noinline)) int inner(int i) { return table[i & 63] * 5; }
int k(int i) { return inner(i) + 3; }
int unused(int i) { return i * 17; }
"""


def test_every_kept_function_and_table_counts_once_and_the_sums_agree() -> None:
    data = zig_object(SOURCE, "cortex-m4", *SPLIT)
    total = measure_code([data], ["k"])
    parts = flash_parts([data], ["k"], total)
    assert parts[0] == FlashPart("table", "constants", 256)
    assert {part.name for part in parts} - {""} == {"table", "inner", "k"}
    sums = [sum(p.size_bytes for p in parts if p.kind == kind) for kind in ("code", "constants")]
    assert tuple(sums) == total


def test_what_has_no_symbol_is_a_part_without_a_name() -> None:
    data = zig_object("double k(double x) { return x * 1.7; }", "x86-64", *SPLIT)
    parts = flash_parts([data], ["k"], measure_code([data], ["k"]))
    assert FlashPart("", "constants", 8) in parts
