"""What runners compile is kept, whole or not at all, and not for ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from footprint_compiler.errors import ToolchainError
from footprint_compiler.runners import cache


def write_thing(folder: Path) -> Path:
    (folder / "thing").write_text("made", encoding="utf-8")
    return folder / "thing"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FPC_CACHE_DIR", str(tmp_path))
    return cache.cache_folder()


def test_a_file_is_made_once(folder: Path) -> None:
    calls: list[Path] = []

    def make(work: Path) -> Path:
        calls.append(work)
        return write_thing(work)

    key = cache.key_of(["a", b"b"])
    for _ in range(2):
        assert cache.cached_file("thing", key, make).read_text(encoding="utf-8") == "made"
    assert len(calls) == 1
    assert [path.name for path in folder.iterdir()] == [f"{key}-thing"]


def test_keys_separate_their_parts() -> None:
    assert cache.key_of(["a", "b"]) == cache.key_of([b"a", b"b"])
    assert cache.key_of(["a", "b"]) != cache.key_of(["ab", ""])


def test_a_failure_leaves_nothing(folder: Path) -> None:
    def fail(work: Path) -> Path:
        write_thing(work)
        raise ToolchainError("no compiler")

    with pytest.raises(ToolchainError, match="no compiler"):
        cache.cached_file("thing", "0", fail)
    assert list(folder.iterdir()) == []


def test_the_files_used_last_stay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MOST_FILES", 2)
    for age, key in ((30, "a"), (20, "b")):
        place = cache.cached_file("thing", key, write_thing)
        os.utime(place, (place.stat().st_mtime - age,) * 2)
    assert cache.cached_file("thing", "a", write_thing).is_file()
    cache.cached_file("thing", "c", write_thing)
    assert {path.name for path in folder.iterdir()} == {"a-thing", "c-thing"}


def test_an_unwritable_cache_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("FPC_CACHE_DIR", str(file))
    assert cache.cache_folder().is_dir()
    assert str(os.getpid()) in cache.cache_folder().name
