"""Every key and value of a target file is checked, and refused by name."""

from __future__ import annotations

import copy
import pickle
import tomllib
from pathlib import Path
from typing import Any

import pytest

from footprint_compiler.errors import EXIT_USAGE, TargetError
from footprint_compiler.targets import list_targets, target_from_dict, target_to_dict
from footprint_compiler.targets.load import FOLDER

FILES = sorted(FOLDER.glob("*.toml"))
M4: dict[str, Any] = tomllib.loads((FOLDER / "cortex-m4.toml").read_text(encoding="utf-8"))


def refused(values: Any) -> str:
    with pytest.raises(TargetError) as caught:
        target_from_dict(values, "board.toml")
    assert caught.value.exit_code == EXIT_USAGE
    return caught.value.message


def changed(path: str, value: Any) -> dict[str, Any]:
    """The tables of cortex-m4 with one value replaced; ``path`` like ``limits.has_fma``."""
    values = copy.deepcopy(M4)
    *folders, key = path.split(".")
    table: Any = values
    for folder in folders:
        table = table[int(folder)] if folder.isdigit() else table[folder]
    table[key] = value
    return values


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_bundled_file_is_valid_and_plain_data(file: Path) -> None:
    target = target_from_dict(tomllib.loads(file.read_text(encoding="utf-8")), file.name)
    assert target.name == file.stem
    assert target.description
    assert target_from_dict(target_to_dict(target), "again") == target
    assert pickle.loads(pickle.dumps(target)) == target
    assert hash(target) == hash(pickle.loads(pickle.dumps(target)))
    assert target.arena_pool.kind == "ram"
    assert "weights" in target.weights_pool.holds
    assert target.is_bare_metal == (target.toolchain.output == "static")
    assert all(pool.address is not None for pool in target.pools) == target.is_bare_metal


def test_names_and_aliases_are_unique() -> None:
    names = [name for target in list_targets() for name in (target.name, *target.aliases)]
    assert len(names) == len(set(names))


def test_the_promised_targets_are_there() -> None:
    promised = (
        "native x86-64 x86-64-v3 x86-64-v4 arm64 cortex-a53 cortex-a55 cortex-a72 cortex-a76 armv7 "
        "cortex-a7 cortex-m0plus cortex-m3 cortex-m4 cortex-m7 cortex-m33 cortex-m55 "
        "esp32-c3 esp32-c6 esp32-p4"
    )
    assert {target.name for target in list_targets()} == set(promised.split())


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("colour", "red", ["colour", "unknown key", "name, aliases, description"]),
        ("name", "Cortex M4", ["name", "lower case"]),
        ("aliases", ["M 4"], ["aliases", "lower case"]),
        ("aliases", "m4", ["aliases", "list of strings"]),
        ("description", 4, ["description", "a string", "4"]),
        ("tvm", 3, ["tvm", "a table"]),
        ("tvm.kind", "cuda", ["tvm.kind", "llvm", "cuda"]),
        ("tvm.mpcu", "cortex-m4", ["tvm.mpcu", "unknown key", "mcpu"]),
        ("tvm.fast-math", 1, ["tvm.fast-math", "unknown key"]),
        ("tvm.mattr", ["dsp"], ["tvm.mattr", "+NAME or -NAME", "dsp"]),
        ("tvm.mattr", [1], ["tvm.mattr", "list of strings"]),
        ("tvm.mfloat-abi", "softfp", ["tvm.mfloat-abi", "soft, hard", "softfp"]),
        ("tvm.mabi", "lp64", ["tvm.mabi", "ilp32, ilp32f, ilp32d", "lp64"]),
        ("tvm.vector-width", 0, ["tvm.vector-width", "at least 1"]),
        ("pool.0.kind", "rom", ["pool[0].kind", "ram, flash", "rom"]),
        ("pool.0.size", 3, ["pool[0].size", "unknown key", "size_bytes"]),
        ("pool.0.size_bytes", 0, ["pool[0].size_bytes", "at least 1"]),
        ("pool.0.size_bytes", "640K", ["pool[0].size_bytes", "an integer", "640K"]),
        ("pool.0.align_bytes", 12, ["pool[0].align_bytes", "power of two", "12"]),
        ("pool.0.address", -1, ["pool[0].address", "at least 0"]),
        ("pool.0.latency_cycles", -0.5, ["pool[0].latency_cycles", "at least 0"]),
        ("pool.0.read_bytes_per_cycle", float("nan"), ["read_bytes_per_cycle", "a number"]),
        ("pool.0.holds", ["heap"], ["pool[0].holds", "activations, stack", "heap"]),
        ("pool.1.holds", ["activations"], ["pool[1].holds", "weights and code"]),
        ("pool.1.name", "sram", ["pool", "'sram' is used twice"]),
        ("pool", [], ["pool", "no pool holds 'activations'"]),
        ("pool", {"name": "sram"}, ["pool", "[[pool]]"]),
        ("toolchain.output", "dll", ["toolchain.output", "shared, static", "dll"]),
        ("toolchain.linker", "ld", ["toolchain.linker", "unknown key", "zig_target"]),
        ("runner.kind", "jlink", ["runner.kind", "local, qemu-user, qemu-system", "jlink"]),
        ("runner.board", "x", ["runner.board", "unknown key", "machine"]),
        ("limits.has_fma", 1, ["limits.has_fma", "true or false", "1"]),
        ("limits.vector_bits", True, ["limits.vector_bits", "an integer", "True"]),
        ("limits.arena_align_bytes", 6, ["limits.arena_align_bytes", "power of two"]),
        ("roofline.clock_mhz", "fast", ["roofline.clock_mhz", "a number", "fast"]),
        ("energy", {"active_pj_per_cycle": 1.0}, ["energy.sleep_uw", "is missing"]),
    ],
)
def test_a_wrong_entry_is_refused_by_name(path: str, value: Any, words: list[str]) -> None:
    message = refused(changed(path, value))
    for word in ["board.toml", *words]:
        assert word in message


@pytest.mark.parametrize("key", ["name", "tvm", "pool", "toolchain", "runner", "limits"])
def test_a_missing_table_is_refused_by_name(key: str) -> None:
    values = copy.deepcopy(M4)
    del values[key]
    assert f"board.toml: {key}: is missing" in refused(values)


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("tvm", "mcpu"),
        ("limits", "unaligned_access"),
        ("toolchain", "zig_cpu"),
        ("runner", "machine"),
    ],
)
def test_a_missing_key_is_refused_by_name(table: str, key: str) -> None:
    values = copy.deepcopy(M4)
    del values[table][key]
    assert f"board.toml: {table}.{key}: is missing" in refused(values)


@pytest.mark.parametrize("values", [[], 3, "x", None])
def test_something_else_than_a_table_is_refused(values: Any) -> None:
    assert "must be a table" in refused(values)


def test_energy_and_roofline_are_read() -> None:
    values = changed("energy", {"active_pj_per_cycle": 120.0, "sleep_uw": 2})
    target = target_from_dict(values, "board.toml")
    assert target.energy is not None
    assert (target.energy.active_pj_per_cycle, target.energy.sleep_uw) == (120.0, 2.0)
    assert target.roofline is not None
    assert target.roofline.clock_mhz == 120.0
