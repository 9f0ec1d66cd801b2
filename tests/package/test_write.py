"""All or nothing, and nothing of somebody else's is touched; the command from end to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from footprint_compiler.artifact import Artifact
from footprint_compiler.errors import OutputError
from footprint_compiler.package.write import INDEX, write_package


def test_a_package_replaces_an_older_one(tmp_path: Path) -> None:
    out = tmp_path / "p"
    write_package(out, "make", {"a/b": b"1", "old": b"2"})
    write_package(out, "make", {"a/b": b"3"})
    assert {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()} == {
        "a/b",
        INDEX,
    }
    assert (out / "a" / "b").read_bytes() == b"3"
    assert list(tmp_path.iterdir()) == [out]


def test_foreign_content_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "p"
    write_package(out, "make", {"a": b"1"})
    (out / "mine").write_text("precious")
    with pytest.raises(OutputError, match="mine"):
        write_package(out, "make", {"a": b"2"})
    assert (out / "a").read_bytes() == b"1"
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="is a file"):
        write_package(tmp_path / "file", "make", {"a": b"2"})


def test_the_command(
    fpc: Callable[..., Result], build_for: Callable[..., Artifact], tmp_path: Path
) -> None:
    artifact = build_for("native")
    out = tmp_path / "p"
    result = fpc("package", artifact.path, "--format", "make", "-o", out, "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["vectors"] == 1
    assert set(said["files"]) == {
        str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()
    } - {INDEX}


def test_inputs_of_a_user_become_vectors(
    fpc: Callable[..., Result], build_for: Callable[..., Artifact], tmp_path: Path, digits: Path
) -> None:
    out, data = tmp_path / "p", digits.parent / "in.npz"
    result = fpc("package", build_for("native").path, "--format", "make", "-o", out, "-i", data)
    assert result.exit_code == 0, result.output
    assert "#define DIGITS_CHECK_VECTORS 1" in (out / "example" / "digits_check.h").read_text()


def test_nothing_is_written_when_the_form_does_not_fit(
    fpc: Callable[..., Result], build_for: Callable[..., Artifact], tmp_path: Path
) -> None:
    out = tmp_path / "p"
    result = fpc("package", build_for("native").path, "--format", "arduino", "-o", out)
    assert result.exit_code == 2
    assert "FPC-E001" in result.output
    assert not out.exists()
