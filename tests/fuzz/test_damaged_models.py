"""No damaged model crashes, hangs, prints a traceback or computes other numbers."""

from __future__ import annotations

import json
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.mutate import liars, mutations

MUTATIONS = 150
SECONDS_EACH = 60
REFUSALS = {2, 4}
ONE_ERROR = re.compile(r"error (FPC-E0\d\d): .+\n  remedy: .+\n\Z")
ROOT = Path(__file__).resolve().parents[2]


class Worker:
    """A process that builds what it is given; started again after it dies."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()

    def examine(self, model: Path) -> dict[str, object]:
        """Its report; fails the test when the process dies or is silent for too long."""
        if self._process is None:
            self._start()
        self._process.stdin.write(f"{model}\n")
        self._process.stdin.flush()
        try:
            answer = self._answers.get(timeout=SECONDS_EACH)
        except queue.Empty:
            self.stop()
            pytest.fail(f"no answer within {SECONDS_EACH} s")
        if not answer:
            code = self._process.wait()
            self.stop()
            pytest.fail(f"the compiler's process died with code {code}")
        return json.loads(answer)

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> None:
        self._answers = answers = queue.Queue()
        command = [sys.executable, "-m", "tests.fuzz.worker"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )
        stdout = self._process.stdout

        def read() -> None:
            for line in stdout:
                answers.put(line)
            answers.put("")

        threading.Thread(target=read, daemon=True).start()


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    started = Worker()
    yield started
    started.stop()


def examine(worker: Worker, folder: Path, content: bytes) -> dict[str, object]:
    model = folder / "model.onnx"
    model.write_bytes(content)
    report = worker.examine(model)
    assert "Traceback" not in report["stderr"]
    assert report["left"] == [], "a partial output was left behind"
    if report["code"] == 0:
        assert report["same"] is not False, "the build computes other numbers than ONNX Runtime"
    else:
        found = ONE_ERROR.search(report["stderr"])
        assert found, report["stderr"]
        assert report["code"] in REFUSALS, report["stderr"]
        assert not (folder / "model").exists()
    return report


def example() -> bytes:
    return (ROOT / "examples" / "digits" / "digits.onnx").read_bytes()


def label(value: str | bytes) -> str:
    return value if isinstance(value, str) else ""


@pytest.mark.parametrize(
    ("what", "content"),
    list(mutations(example(), MUTATIONS, seed=2)),
    ids=label,
)
def test_changed_bytes(worker, tmp_path, what, content):
    examine(worker, tmp_path, content)


@pytest.mark.parametrize(("what", "content"), list(liars()), ids=label)
def test_models_that_lie(worker, tmp_path, what, content):
    report = examine(worker, tmp_path, content)
    if what not in {"wild-names", "long-chain"}:
        assert report["code"] != 0, "this model must be refused"


def test_the_undamaged_model_builds_and_agrees(worker, tmp_path):
    report = examine(worker, tmp_path, example())
    assert (report["code"], report["same"]) == (0, True)
