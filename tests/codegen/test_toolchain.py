from __future__ import annotations

import sys
from pathlib import Path

import pytest

from footprint_compiler.codegen import toolchain as module
from footprint_compiler.codegen.toolchain import find_toolchain
from footprint_compiler.errors import OutputError, ToolchainError
from footprint_compiler.targets import load_target


def fake_compiler(folder: Path, message: str) -> str:
    script = folder / "fake-cc"
    script.write_text(f"#!{sys.executable}\nimport sys\nsys.exit({message!r})\n")
    script.chmod(0o755)
    return str(script)


def test_the_first_error_line_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.c").write_text("int k(void) { return nothing; }\n")
    toolchain = find_toolchain(load_target("x86-64"), None, tmp_path)
    with pytest.raises(ToolchainError, match=r"bad.c:1:.*undeclared identifier 'nothing'"):
        toolchain.compile("bad.c")


def test_a_full_disk_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("int a;")
    cc = fake_compiler(tmp_path, "error: unable to write a.o: NoSpaceLeft")
    with pytest.raises(OutputError, match="no space left"):
        find_toolchain(load_target("x86-64"), cc, tmp_path).compile("a.c")


def test_missing_zig_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolchainError, match="not installed") as caught:
        find_toolchain(load_target("arm64"), None, tmp_path)
    assert "pip install ziglang" in caught.value.remedy


def test_the_target_selects_triple_and_cpu(tmp_path: Path) -> None:
    target = load_target("cortex-m4")
    command = find_toolchain(target, None, tmp_path).command
    assert target.toolchain.zig_target in command
    assert f"-mcpu={target.toolchain.zig_cpu}" in command
    shared = find_toolchain(load_target("arm64"), None, tmp_path)
    assert "-fPIC" in shared.compile_flags


def test_the_cache_is_the_users_and_needs_no_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cache() -> str:
        return find_toolchain(load_target("x86-64"), None, tmp_path).env["ZIG_GLOBAL_CACHE_DIR"]

    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", "/somewhere")
    assert cache() == "/somewhere"
    monkeypatch.delenv("ZIG_GLOBAL_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache() == str(tmp_path / "cache" / "fpc" / "zig")
    (tmp_path / "blocked").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "blocked"))
    assert cache() == str(tmp_path / "zig-global")
