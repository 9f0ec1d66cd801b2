"""Folders of tuning records: ``<folder>/<target>/records.jsonl``, one line per record, sorted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from footprint_compiler.codegen.staging import staged_file
from footprint_compiler.errors import OutputError, TuningRecordError
from footprint_compiler.tuning.lock import locked
from footprint_compiler.tuning.record import Record, Versions
from footprint_compiler.tuning.workload import MachineKey

FILE = "records.jsonl"

Key = tuple[str, MachineKey, Versions]


def shipped_folder() -> Path | None:
    """The records that come with fpc: beside the package in a clone, inside it when installed."""
    package = Path(__file__).resolve().parent.parent
    places = (package / "tuning_logs", package.parent / "tuning_logs")
    return next((place for place in places if place.is_dir()), None)


def read_records(folder: Path, target: str | None = None) -> dict[Key, Record]:
    """All records of a folder, or those of one target.

    Raises:
        TuningRecordError: the folder does not exist, or a line is not a record of the target that
            its file is named after.
    """
    if not folder.is_dir():
        raise TuningRecordError(
            f"{folder} is not a folder of tuning records", "Give one that `fpc tune` has written."
        )
    pattern = f"{target}/{FILE}" if target else f"*/{FILE}"
    found: dict[Key, Record] = {}
    for path in sorted(folder.glob(pattern)):
        keep_best(found, read_file(path, path.parent.name))
    return found


def read_file(path: Path, target: str | None = None) -> list[Record]:
    """The records of one file, in its order; empty lines are left out.

    Args:
        target: of all of them; None for any.

    Raises:
        TuningRecordError: it cannot be read, or a line is not a record, or not one of ``target``.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise TuningRecordError(f"cannot read {path}: {error}") from error
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = Record.from_line(line)
        except ValueError as error:
            raise TuningRecordError(f"{path}, line {number}: {error}") from error
        if target not in (None, record.machine.target):
            raise TuningRecordError(
                f"{path}, line {number}: a record of {record.machine.target}, not of {target}",
                "Take it out and give it to `fpc tune merge` as a file of its own.",
            )
        records.append(record)
    return records


def keep_best(kept: dict[Key, Record], more: Iterable[Record]) -> None:
    """Add records; of two for one key stays the one with the higher speed-up over the default.

    Costs of different runs or runners are not compared, their ratios to the default are. A record
    for another default kernel than the one kept is taken for the newer one.
    """
    for record in more:
        old = kept.get(record.key)
        same_default = old is not None and old.default_kernel == record.default_kernel
        if old is None or not same_default or record.speed_up > old.speed_up:
            kept[record.key] = record


def add_records(
    folder: Path, more: Iterable[Record], target: str | None = None
) -> tuple[int, int, list[Record]]:
    """Add records to a folder, whoever else adds some at the same time.

    Args:
        target: of all of ``more``; other files are not read then. None for any.

    Returns:
        Records before and after, and those of ``more`` that are kept.

    Raises:
        TuningRecordError: the folder holds something else.
        OutputError: a file cannot be written.
    """
    given = list(more)
    with make_folder(folder), locked(folder):
        kept = read_records(folder, target)
        before = len(kept)
        keep_best(kept, given)
        write_records(folder, kept)
    stay = [record for record in given if kept.get(record.key) is record]
    return before, len(kept), stay


@contextmanager
def make_folder(folder: Path) -> Iterator[None]:
    """A folder that goes away again when nothing was put into it.

    Raises:
        OutputError: it cannot be made.
    """
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create {folder}: {error.strerror}") from error
    try:
        yield
    finally:
        if new:
            with suppress(OSError):
                folder.rmdir()


def write_records(folder: Path, records: Mapping[Key, Record]) -> list[Path]:
    """Write the files of every target that occurs in ``records``, each whole or not at all.

    Raises:
        OutputError: a file cannot be written.
    """
    written = []
    for target in sorted({record.machine.target for record in records.values()}):
        lines = sorted(r.to_line() for r in records.values() if r.machine.target == target)
        path = folder / target / FILE
        with staged_file(path) as staged:
            staged.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        written.append(path)
    return written
