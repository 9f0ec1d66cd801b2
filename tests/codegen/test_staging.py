from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

import pytest

from footprint_compiler.codegen.manifest import FORMAT
from footprint_compiler.codegen.staging import check_output_folder, staged_file, staged_folder
from footprint_compiler.errors import OutputError


def write_artifact(folder: Path, content: str) -> None:
    manifest = {"format": FORMAT, "files": {"header": "net.h"}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "net.h").write_text(content)


def stage(out: Path, content: str, error: BaseException | None = None) -> None:
    """Writes an artifact, or only starts to and fails with ``error``."""
    with staged_folder(out) as folder:
        write_artifact(folder, content)
        if error is not None:
            raise error


def stage_file(out: Path, content: str, error: BaseException | None = None) -> None:
    with staged_file(out) as path:
        path.write_text(content)
        if error is not None:
            raise error


def test_the_folder_appears_at_the_end_only(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b" / "net"
    with staged_folder(out) as folder:
        write_artifact(folder, "one")
        assert not out.exists()
    assert (out / "net.h").read_text() == "one"
    assert os.listdir(out.parent) == ["net"]
    mask = os.umask(0)
    os.umask(mask)
    assert out.stat().st_mode & 0o777 == 0o777 & ~mask


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_of_a_failure(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        stage(tmp_path / "new" / "net", "one", error())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    stage(tmp_path / "net", "one")
    with pytest.raises(error):
        stage(tmp_path / "net", "two", error())
    assert (tmp_path / "net" / "net.h").read_text() == "one"
    assert os.listdir(tmp_path) == ["net"]


def test_a_failure_of_the_last_rename_restores_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(tmp_path / "net", "one")
    rename = Path.rename

    def fail_once(self: Path, target: Path) -> Path:
        if target == tmp_path / "net":
            monkeypatch.setattr(Path, "rename", rename)
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(KeyboardInterrupt):
        stage(tmp_path / "net", "two")
    assert (tmp_path / "net" / "net.h").read_text() == "one"
    assert os.listdir(tmp_path) == ["net"]


def test_an_artifact_is_replaced_and_files_of_the_user_in_it_are_kept(tmp_path: Path) -> None:
    stage(tmp_path / "net", "one")
    (tmp_path / "net" / "out.npz").write_text("mine")
    stage(tmp_path / "net", "two")
    assert (tmp_path / "net" / "net.h").read_text() == "two"
    assert (tmp_path / "net" / "out.npz").read_text() == "mine"
    assert os.listdir(tmp_path) == ["net"]


def test_files_that_a_new_build_does_not_have_go_away(tmp_path: Path) -> None:
    stage(tmp_path / "net", "one")
    with staged_folder(tmp_path / "net") as folder:
        (folder / "other.h").write_text("two")
    assert os.listdir(tmp_path / "net") == ["other.h"]


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    stage(tmp_path / "net", "one")
    assert (tmp_path / "net" / "net.h").read_text() == "one"


@pytest.mark.parametrize(
    "manifest", [None, "not json", "{}", '{"format": "other", "files": {}}', "[]"]
)
def test_a_folder_with_other_content_is_left_as_it_is(tmp_path: Path, manifest: str | None) -> None:
    out = tmp_path / "net"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    if manifest is not None:
        (out / "manifest.json").write_text(manifest)
    with pytest.raises(OutputError, match="not an artifact"):
        stage(out, "one")
    with pytest.raises(OutputError, match="not an artifact"):
        check_output_folder(out)
    assert (out / "thesis.txt").read_text() == "mine"
    assert not (out / "net.h").exists()


def test_a_link_to_an_artifact_is_followed(tmp_path: Path) -> None:
    stage(tmp_path / "real", "one")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    stage(tmp_path / "link", "two")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "net.h").read_text() == "two"


def test_a_file_where_a_folder_must_be(tmp_path: Path) -> None:
    (tmp_path / "net").write_text("mine")
    with pytest.raises(OutputError, match="is a file"):
        stage(tmp_path / "net", "one")
    with pytest.raises(OutputError, match="cannot create"):
        stage(tmp_path / "net" / "below", "one")
    assert (tmp_path / "net").read_text() == "mine"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is of Linux")
def test_a_place_that_nobody_can_write(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="/proc/net-of-mine"):
        stage(Path("/proc/net-of-mine"), "one")


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    stage(tmp_path / "net", "one")
    with pytest.raises(OutputError, match="No space left"):
        stage(tmp_path / "net", "two", OSError(errno.ENOSPC, "No space left on device"))
    assert (tmp_path / "net" / "net.h").read_text() == "one"
    assert os.listdir(tmp_path) == ["net"]


def test_a_file_replaces_a_file_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_text("one")
    with staged_file(tmp_path / "a.tar") as path:
        path.write_text("two")
        assert (tmp_path / "a.tar").read_text() == "one"
    assert (tmp_path / "a.tar").read_text() == "two"
    with pytest.raises(RuntimeError):
        stage_file(tmp_path / "a.tar", "three", RuntimeError())
    assert (tmp_path / "a.tar").read_text() == "two"
    assert os.listdir(tmp_path) == ["a.tar"]


def test_a_folder_where_a_file_must_be(tmp_path: Path) -> None:
    (tmp_path / "a.tar").mkdir()
    with pytest.raises(OutputError, match="is a folder"), staged_file(tmp_path / "a.tar"):
        pass
