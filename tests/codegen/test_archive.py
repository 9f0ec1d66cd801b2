from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from footprint_compiler.codegen.archive import make_archive

from .samples import zig_object

FIRST = (
    "int first(void) { return 1; } static int hidden(void) { return 3; } int (*p)(void) = hidden;"
)
SECOND = "int first(void); int second(void) { return first() + 1; }"
MAIN = "int second(void); int main(void) { return second() - 2; }"


def test_the_tools_of_llvm_read_it(tmp_path: Path) -> None:
    members = {"a.o": zig_object(FIRST, "x86-64"), "second_object.o": zig_object(SECOND, "x86-64")}
    (tmp_path / "libx.a").write_bytes(make_archive(members))
    command = [sys.executable, "-m", "ziglang", "ar", "t", "libx.a"]
    listed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert listed.stdout.split() == list(members)


def test_a_program_links_and_runs_through_its_symbol_table(tmp_path: Path) -> None:
    # An odd size checks the padding; the linker finds members by the symbol table only.
    odd = zig_object(FIRST, "x86-64") + b"\0" * (1 - len(zig_object(FIRST, "x86-64")) % 2)
    archive = make_archive({"a.o": odd, "b.o": zig_object(SECOND, "x86-64")})
    (tmp_path / "libx.a").write_bytes(archive)
    (tmp_path / "main.c").write_text(MAIN)
    command = [sys.executable, "-m", "ziglang", "cc", "main.c", "libx.a", "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert subprocess.run(["./main"], cwd=tmp_path, check=False).returncode == 0


def test_only_content_matters() -> None:
    data = zig_object(FIRST, "x86-64")
    assert make_archive({"a.o": data}) == make_archive({"a.o": bytes(data)})


def test_a_long_member_name_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than 15"):
        make_archive({"sixteen_letters.o": b""})
