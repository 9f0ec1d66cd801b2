"""The journal of a session: a line per event, on disk before the next one starts.

The first line says what the session is; a journal is only continued by the same one. A line that
was cut off by a crash is left out when it is read.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from footprint_compiler.errors import OutputError, TuningRecordError
from footprint_compiler.tuning.record import decisions_from_json
from footprint_compiler.tuning.trial import Costs, Trial


@dataclass(frozen=True)
class SessionKey:
    """What must be equal for a session to go on where another stopped."""

    model_sha256: str
    machine: str
    tvm: str
    schedule: int
    runner: str
    seed: int


class Journal:
    """Appends trials to a file; every line is flushed to the disk."""

    def __init__(self, path: Path, key: SessionKey, resume: bool) -> None:
        """Open or continue ``path``.

        Raises:
            TuningRecordError: it is to be continued and belongs to another session.
            OutputError: it cannot be written.
        """
        self.path = path
        self.past: list[Trial] = []
        if resume and path.is_file():
            self.past, whole = _read(path, key)
        else:
            whole = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: TextIO = path.open("a" if whole else "w", encoding="utf-8")
            if whole:
                self._file.truncate(whole)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
        if not whole:
            self._append({"session": asdict(key)})

    def add(self, trial: Trial) -> None:
        """Keep one trial."""
        self._append({"trial": asdict(trial)})

    def close(self) -> None:
        """No more trials."""
        self._file.close()

    def _append(self, value: dict[str, Any]) -> None:
        self._file.write(json.dumps(value) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _read(path: Path, key: SessionKey) -> tuple[list[Trial], int]:
    """The trials of a journal, and the bytes of its whole lines."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    lines = data[:whole].decode("utf-8").splitlines()
    if not lines:
        return [], 0
    try:
        found = SessionKey(**json.loads(lines[0])["session"])
        trials = [_trial(json.loads(line)["trial"]) for line in lines[1:]]
    except (KeyError, TypeError, ValueError) as error:
        raise TuningRecordError(f"{path} is not a journal: {error}") from error
    if found != key:
        different = [name for name, value in asdict(key).items() if getattr(found, name) != value]
        raise TuningRecordError(
            f"{path} is of another session: {', '.join(different)} differ",
            "Tune without --resume to start anew.",
        )
    return trials, whole


def _trial(fields: dict[str, Any]) -> Trial:
    costs = fields["costs"]
    fields["costs"] = None if costs is None else Costs(**costs)
    fields["decisions"] = decisions_from_json(fields["decisions"])
    return Trial(**fields)
