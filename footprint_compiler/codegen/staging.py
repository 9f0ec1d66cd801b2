"""All or nothing: an artifact appears complete under its final name, or not at all.

Files are written into a hidden folder beside the target. Only when all of them are there does one
rename put them in place; an earlier artifact is moved aside for that moment and put back if the
rename fails.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from footprint_compiler.codegen.manifest import BUNDLE_FORMAT, FORMAT, MANIFEST
from footprint_compiler.errors import OutputError


@contextmanager
def staged_folder(out: Path) -> Iterator[Path]:
    """A new folder that becomes ``out`` when the block ends without an exception.

    An artifact already at ``out`` is replaced; files in it that are no part of it are kept.

    Raises:
        OutputError: ``out`` is a file or a folder with other content, or cannot be written.
    """
    out = _resolve(out)
    with _staging(out) as folder:
        yield folder
        _check_replaceable(out)
        if out.exists():
            _swap(folder, out)
        else:
            folder.rename(out)


@contextmanager
def staged_file(out: Path) -> Iterator[Path]:
    """A path that becomes the file ``out`` when the block ends without an exception.

    Raises:
        OutputError: ``out`` is a folder or cannot be written.
    """
    out = _resolve(out)
    with _staging(out) as folder:
        _check_no_folder(out)
        yield folder / out.name
        (folder / out.name).replace(out)


def check_output_folder(out: Path) -> None:
    """Says before a long build what would fail at its end.

    Raises:
        OutputError: see ``staged_folder``.
    """
    out = _resolve(out)
    with _staging(out):
        _check_replaceable(out)


def check_output_file(out: Path) -> None:
    """Says before a long build what would fail at its end.

    Raises:
        OutputError: see ``staged_file``.
    """
    out = _resolve(out)
    with _staging(out):
        _check_no_folder(out)


@contextmanager
def _staging(out: Path) -> Iterator[Path]:
    created = _make_parents(out)
    folder: Path | None = None
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        folder.chmod(0o777 & ~_umask())
        yield folder
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"cannot write {out}: {reason}") from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        for parent in created:
            # Only succeeds where nothing was put into it.
            try:
                parent.rmdir()
            except OSError:
                break


def _make_parents(out: Path) -> list[Path]:
    """Creates the parents of ``out``; returns the new ones, innermost first."""
    missing = [parent for parent in out.parents if not parent.exists()]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create {out.parent}: {error.strerror}") from error
    return missing


def _resolve(out: Path) -> Path:
    try:
        return out.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise OutputError(f"{out} is not a usable path: {error}") from error


def _check_no_folder(out: Path) -> None:
    if out.is_dir():
        raise OutputError(f"{out} is a folder, and a file is to be written there")


def _check_replaceable(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise OutputError(f"{out} is a file, and a folder is to be written there")
    if any(out.iterdir()) and _own_files(out) is None:
        raise OutputError(
            f"{out} has content that is not an artifact of fpc; it is left as it is",
            "Choose a new or empty folder with -o.",
        )


def _own_files(folder: Path) -> set[str] | None:
    """Names of the files that fpc wrote into ``folder``; None if it is no artifact."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] not in (FORMAT, BUNDLE_FORMAT):
            return None
        return {MANIFEST, *(str(name) for name in manifest["files"].values())}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _swap(folder: Path, out: Path) -> None:
    own = _own_files(out) or set()
    foreign = [path.name for path in out.iterdir() if path.name not in own]
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.old.", dir=out.parent))
    try:
        out.rename(aside / "previous")
        try:
            folder.rename(out)
        except BaseException:
            (aside / "previous").rename(out)
            raise
        for name in foreign:
            if not (out / name).exists():
                (aside / "previous" / name).rename(out / name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
