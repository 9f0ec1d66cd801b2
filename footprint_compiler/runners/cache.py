"""Where runners keep what they compile: harness executables and the counting plugin."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

#: The executable of a model holds its weights: the cache keeps this many files.
MOST_FILES = 64


def cache_folder() -> Path:
    """``$FPC_CACHE_DIR``, else ``fpc`` in the user's cache folder, else a temporary folder."""
    given = os.environ.get("FPC_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(given) if given else Path.home() / ".cache") / "fpc" / "runners"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):
        folder = Path(tempfile.gettempdir()) / f"fpc-runners-{os.getpid()}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def key_of(parts: list[bytes | str]) -> str:
    """A name for a result that depends on ``parts`` and on nothing else."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:32]


def cached_file(name: str, key: str, make: Callable[[Path], Path]) -> Path:
    """The file ``<key>-<name>`` of the cache, made by ``make`` when it is not there.

    Args:
        make: gets an empty folder, returns the path of the finished file inside it. The file
            appears in the cache whole or not at all.
    """
    folder = cache_folder()
    place = folder / f"{key}-{name}"
    if place.is_file():
        os.utime(place)
        return place
    work = Path(tempfile.mkdtemp(prefix="work-", dir=folder))
    try:
        made = make(work)
        os.replace(made, place)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    _forget_oldest(folder)
    return place


def _forget_oldest(folder: Path) -> None:
    """Keep the files used last; another process may be doing the same."""
    files = [path for path in folder.iterdir() if path.is_file()]
    with suppress(OSError):
        files.sort(key=lambda path: path.stat().st_mtime)
    for path in files[:-MOST_FILES]:
        path.unlink(missing_ok=True)
