"""Finding targets: names, aliases, files of the user, and what LLVM says about them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from footprint_compiler.errors import TargetError
from footprint_compiler.targets import check_llvm, list_targets, load_target, target_features
from footprint_compiler.targets.load import FOLDER

BUNDLED = [target.name for target in list_targets() if target.name != "native"]
M4 = (FOLDER / "cortex-m4.toml").read_text(encoding="utf-8")


def board(folder: Path, old: str, new: str) -> Path:
    """A user's file: cortex-m4 with one piece of text replaced."""
    assert old in M4
    path = folder / "board.toml"
    path.write_text(M4.replace(old, new), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", BUNDLED)
def test_llvm_knows_cpu_and_features_of_bundled_targets(name: str) -> None:
    check_llvm(load_target(name), name)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("x86", "x86-64"),
        ("x86_64", "x86-64"),
        ("aarch64", "arm64"),
        ("armhf", "armv7"),
        ("m4", "cortex-m4"),
        ("Cortex-M4", "cortex-m4"),
        ("a72", "cortex-a72"),
        ("esp32c3", "esp32-c3"),
        ("rv32imafc", "esp32-p4"),
    ],
)
def test_aliases(alias: str, name: str) -> None:
    assert load_target(alias).name == name


def test_an_unknown_name_is_refused_with_near_ones() -> None:
    with pytest.raises(TargetError) as caught:
        load_target("cortex-m44")
    assert "'cortex-m44'" in caught.value.message
    assert "did you mean cortex-m4" in caught.value.message
    assert "board.toml" in caught.value.remedy


def test_a_file_of_the_user(tmp_path: Path) -> None:
    path = board(tmp_path, 'name = "cortex-m4"', 'name = "my-board"')
    target = load_target(path)
    assert target.name == "my-board"
    assert target.tvm["mcpu"] == "cortex-m4"
    assert load_target(str(path)) == target


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('mcpu = "cortex-m4"', 'mcpu = "cortex-m9"', ["tvm.mcpu", "'cortex-m9'", "cortex-m"]),
        ('mcpu = "cortex-m4"', 'mcpu = "cortex_m4"', ["tvm.mcpu", "did you mean cortex-m4"]),
        (
            'mattr = ["+strict-align"]',
            'mattr = ["+neno"]',
            ["tvm.mattr", "'neno'", "neon"],
        ),
        ("thumbv7em-", "thumb7em-", ["tvm.mtriple", "thumb7em-"]),
        ("thumbv7em-", "riscv64-", ["tvm.mtriple", "x86_64, aarch64, armv7a"]),
    ],
)
def test_llvm_names_of_a_file_are_checked(
    tmp_path: Path, old: str, new: str, words: list[str]
) -> None:
    with pytest.raises(TargetError) as caught:
        load_target(board(tmp_path, old, new))
    for word in ["board.toml", *words]:
        assert word in caught.value.message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"nowhere\.toml: No such file"):
        load_target(tmp_path / "nowhere.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[tvm\n", encoding="utf-8")
    with pytest.raises(TargetError, match=r"broken\.toml: not a TOML file"):
        load_target(broken)
    broken.write_bytes(b'name = "\xff"')
    with pytest.raises(TargetError, match=r"broken\.toml: not a TOML file"):
        load_target(broken)


def test_listing_and_named_targets_do_not_import_tvm() -> None:
    code = (
        "import sys; from footprint_compiler import targets as t; t.list_targets();"
        "t.load_target('cortex-m4'); sys.exit('tvm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_features_follow_mattr() -> None:
    assert "dsp" in target_features(load_target("cortex-m4"))
    assert "fp64" not in target_features(load_target("cortex-m7"))
    assert {"mve.fp", "dsp"} <= target_features(load_target("cortex-m55"))
    assert "strict-align" in target_features(load_target("cortex-m0plus"))
    assert "dotprod" in target_features(load_target("cortex-a55"))
    assert "dotprod" not in target_features(load_target("cortex-a72"))


@pytest.mark.parametrize("name", BUNDLED)
def test_limits_agree_with_llvm(name: str) -> None:
    target = load_target(name)
    features = target_features(target)
    limits = target.limits
    widths = {"avx512f": 512, "avx2": 256, "sse2": 128, "neon": 128, "mve": 128}
    assert limits.vector_bits == max([widths[f] for f in widths if f in features], default=0)
    riscv = str(target.tvm["mtriple"]).startswith("riscv")
    fma = {"fma", "avx512f", "vfp4", "vfp4d16sp", "fp-armv8d16sp", "fp-armv8"}
    assert limits.has_fma == bool(features & (fma | ({"f"} if riscv else set())))
    free = "unaligned-scalar-mem" in features if riscv else "strict-align" not in features
    assert limits.unaligned_access == free
    soft = target.tvm.get("mfloat-abi") == "soft"
    assert soft == (target.is_bare_metal and not features & {"vfp2sp", "f"})
    if riscv:
        assert target.tvm["mabi"] == ("ilp32" if soft else "ilp32f")
