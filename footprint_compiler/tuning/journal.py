"""The journal of a session: a line per event, on disk before the next one starts.

The first line says what the session is; a journal is only continued by the same one. A line that
was cut off by a crash is left out when it is read.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from footprint_compiler.errors import OutputError, TuningRecordError
from footprint_compiler.tuning.lock import hold
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
            TuningRecordError: it is to be continued and belongs to another session, or another
                session is writing it.
            OutputError: it cannot be written.
        """
        self.path = path
        self.past: list[Trial] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise _cannot_write(path, error) from error
        try:
            if not hold(self._file):
                raise TuningRecordError(
                    f"another session is writing {path}",
                    "Wait for its end, or give this one another --seed or --records.",
                )
            self.past, self._whole = _read(path, key) if resume else ([], 0)
            try:
                os.ftruncate(self._file, self._whole)
            except OSError as error:
                raise _cannot_write(path, error) from error
            if not self._whole:
                self._append({"session": asdict(key)})
        except BaseException:
            os.close(self._file)
            raise

    def add(self, trial: Trial) -> None:
        """Keep one trial.

        Raises:
            OutputError: it cannot be written; what was there before stays whole.
        """
        self._append({"trial": asdict(trial)})

    def close(self) -> None:
        """No more trials."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _append(self, value: dict[str, Any]) -> None:
        line = (json.dumps(value) + "\n").encode()
        try:
            done = 0
            while done < len(line):
                done += os.write(self._file, line[done:])
            os.fsync(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._whole)
            raise _cannot_write(self.path, error) from error
        self._whole += len(line)


def _cannot_write(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write {path}: {error.strerror}",
        "Free some space, or choose another folder with --records; --resume goes on.",
    )


def _read(path: Path, key: SessionKey) -> tuple[list[Trial], int]:
    """The trials of a journal, and the bytes of its whole lines."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    lines = data[:whole].splitlines()
    if not lines:
        return [], 0
    try:
        found = SessionKey(**json.loads(lines[0])["session"])
        trials = [_trial(json.loads(line)["trial"]) for line in lines[1:]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TuningRecordError(
            f"{path} is not a journal: {error}", "Tune without --resume to start anew."
        ) from error
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
