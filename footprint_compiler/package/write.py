"""Write a package all or nothing; replace only what an earlier package wrote."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from footprint_compiler.errors import OutputError

INDEX = "fpc-package.json"
_FORMAT = "fpc-package"


def write_package(out: Path, form: str, files: Mapping[str, bytes]) -> None:
    """Make the folder ``out`` hold exactly ``files`` and an index of them.

    Args:
        out: new, empty, or holding an earlier package and nothing else.
        form: name of the package's form, for the index.
        files: relative path -> bytes.

    Raises:
        OutputError: ``out`` has other content, or cannot be written.
    """
    out = out.resolve()
    check_replaceable(out)
    index = {"format": _FORMAT, "form": form, "files": sorted([*files, INDEX])}
    contents = {**files, INDEX: (json.dumps(index, indent=2) + "\n").encode()}
    staging: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        new, old = staging / "new", staging / "old"
        for path, data in contents.items():
            (new / path).parent.mkdir(parents=True, exist_ok=True)
            (new / path).write_bytes(data)
        if out.exists():
            out.rename(old)
        try:
            new.rename(out)
        except BaseException:
            if old.exists():
                old.rename(out)
            raise
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def check_replaceable(out: Path) -> None:
    """Whether a package may be written to ``out``.

    Raises:
        OutputError: it is a file, or a folder with content that no package put there.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise OutputError(f"{out} is a file, and a folder is to be written there")
    present = {str(path.relative_to(out)) for path in out.rglob("*") if not path.is_dir()}
    foreign = sorted(present - _own_files(out))
    if foreign:
        raise OutputError(
            f"{out} has {foreign[0]}, which is no part of a package; it is left as it is",
            "Choose a new or empty folder with -o.",
        )


def _own_files(out: Path) -> set[str]:
    try:
        index = json.loads((out / INDEX).read_text(encoding="utf-8"))
        return set(index["files"]) if index["format"] == _FORMAT else set()
    except (OSError, ValueError, KeyError, TypeError):
        return set()
