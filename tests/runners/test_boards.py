"""Where the parts of a model go on an emulated board."""

from __future__ import annotations

import dataclasses
import itertools
import re

import pytest

from footprint_compiler.errors import RunnerError
from footprint_compiler.runners.boards import BOARDS, KIB, MIB, Parts, linker_script, place_parts
from footprint_compiler.targets import list_targets

SMALL = Parts(2 * KIB, 4 * KIB, 3 * KIB, 2 * KIB, 0)


def test_every_cortex_m_target_has_a_board_with_its_core() -> None:
    for target in list_targets():
        if target.runner.kind != "qemu-system":
            continue
        core = BOARDS[target.runner.machine].cpu
        subset = {"cortex-m0plus": "cortex-m3"}
        assert core == subset.get(target.name, target.name)


@pytest.mark.parametrize("machine", BOARDS)
def test_regions_do_not_overlap(machine: str) -> None:
    regions = sorted(BOARDS[machine].regions, key=lambda region: region.address)
    for low, high in itertools.pairwise(regions):
        assert low.address + low.size_bytes <= high.address


@pytest.mark.parametrize("machine", BOARDS)
def test_a_small_model_fits_everywhere(machine: str) -> None:
    chosen = place_parts(machine, SMALL)
    assert set(chosen) == {"text", "rodata", "arena", "stack", "weights"}
    assert chosen["text"] == "code"
    assert chosen["arena"] == "data"
    script = linker_script(machine, chosen)
    assert "ENTRY(_start)" in script
    assert ".fpc_arena (NOLOAD) : { *(.bss.fpc_arena) } > data" in script


def test_large_parts_move_to_larger_regions() -> None:
    parts = Parts(64 * KIB, 6 * MIB, 5 * MIB, 16 * KIB, 3 * MIB)
    chosen = place_parts("mps2-an386", parts)
    assert (chosen["arena"], chosen["rodata"], chosen["weights"]) == ("psram", "psram", "data")
    script = linker_script("mps2-an386", chosen)
    assert re.search(r"\*\(\.rodata [^}]*\} > psram", script)


@pytest.mark.parametrize(
    ("part", "size"),
    [("arena", 32 * MIB), ("rodata", 32 * MIB), ("weights", 32 * MIB), ("text", 8 * MIB)],
)
def test_what_does_not_fit_is_named(part: str, size: int) -> None:
    field = {
        "arena": "arena_bytes",
        "rodata": "constant_bytes",
        "weights": "weights_bytes",
        "text": "code_bytes",
    }[part]
    with pytest.raises(RunnerError, match=rf"mps2-an386: {part} needs \d+ bytes, \d+ are free"):
        place_parts("mps2-an386", dataclasses.replace(SMALL, **{field: size}))
