"""A worker or a measuring process that crashes, hangs or is killed costs one call."""

from __future__ import annotations

import os
import resource
import signal
import sys

import pytest

from footprint_compiler.tuning.processes import Worker, quiet_core, run_sandboxed
from footprint_compiler.tuning.trial import TrialFailed

SCRIPT = """
import os, sys, time
from footprint_compiler.tuning.worker import LENGTH
import pickle
def act(name):
    if name == "die": os.kill(os.getpid(), 9)
    if name == "exit": os._exit(3)
    if name == "hang": time.sleep(600)
    if name == "raise": return (False, "ValueError: on purpose")
    return (True, os.getpid())
while head := sys.stdin.buffer.read(8):
    name, _ = pickle.loads(sys.stdin.buffer.read(LENGTH.unpack(head)[0]))
    data = pickle.dumps(act(name))
    sys.stdout.buffer.write(LENGTH.pack(len(data)) + data)
    sys.stdout.buffer.flush()
"""


@pytest.fixture
def worker():
    made = Worker([sys.executable, "-c", SCRIPT])
    yield made
    made.close()


def test_answers_come_from_one_process(worker):
    first = worker.call("pid", timeout_s=30)
    assert worker.call("pid", timeout_s=30) == first == worker.pid


@pytest.mark.parametrize(
    ("name", "limit_s", "kind", "text"),
    [
        ("die", 60, "crash", "was ended by signal 9"),
        ("exit", 60, "crash", "ended with status 3"),
        ("hang", 0.3, "timeout", "took too long"),
    ],
)
def test_a_lost_worker_costs_one_call(worker, name, limit_s, kind, text):
    before = worker.call("pid", timeout_s=30)
    with pytest.raises(TrialFailed, match=text) as failed:
        worker.call(name, timeout_s=limit_s)
    assert failed.value.kind == kind
    after = worker.call("pid", timeout_s=30)
    assert after != before
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)


def test_killed_from_outside_between_calls(worker):
    os.kill(worker.call("pid", timeout_s=30), signal.SIGKILL)
    with pytest.raises(TrialFailed) as failed:
        worker.call("pid", timeout_s=30)
    assert failed.value.kind == "crash"
    assert worker.call("pid", timeout_s=30) == worker.pid


def test_a_worker_that_does_not_even_read_costs_one_call(worker):
    os.kill(worker.call("pid", timeout_s=30), signal.SIGSTOP)
    more_than_a_pipe_holds = bytes(1 << 20)
    with pytest.raises(TrialFailed, match="took too long"):
        worker.call("pid", more_than_a_pipe_holds, timeout_s=0.3)
    assert worker.call("pid", more_than_a_pipe_holds, timeout_s=30) == worker.pid


def test_an_exception_is_a_failed_build(worker):
    with pytest.raises(TrialFailed, match="on purpose") as failed:
        worker.call("raise", timeout_s=30)
    assert failed.value.kind == "build"
    assert worker.pid is not None


@pytest.mark.parametrize(
    ("script", "limit_s", "kind", "text"),
    [
        ("kill -SEGV $$", 60, "crash", "signal 11"),
        ("echo no luck >&2; exit 7", 60, "crash", "status 7 no luck"),
        ("sleep 60 & sleep 60", 0.2, "timeout", "did not end within 0.2 s"),
    ],
)
def test_a_measuring_process_that_fails(tmp_path, script, limit_s, kind, text):
    with pytest.raises(TrialFailed, match=text) as failed:
        run_sandboxed(["/bin/sh", "-c", script], tmp_path, limit_s, quiet_core())
    assert failed.value.kind == kind


def test_memory_is_limited(tmp_path):
    greedy = [sys.executable, "-c", "bytearray(1 << 33)"]
    with pytest.raises(TrialFailed, match="status 1"):
        run_sandboxed(greedy, tmp_path, 30.0)


def test_its_time_is_limited_by_the_system_too(tmp_path):
    script = "ulimit -t > seconds"
    run_sandboxed(["/bin/sh", "-c", script], tmp_path, 30.0)
    assert 30 < int((tmp_path / "seconds").read_text()) < 40


def test_lower_limits_of_the_user_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda what: (-1, 1 << 30))
    run_sandboxed(["/bin/sh", "-c", "ulimit -v > bytes"], tmp_path, 30.0)
    assert int((tmp_path / "bytes").read_text()) == 1 << 20  # in KiB


def test_a_missing_program(tmp_path):
    with pytest.raises(TrialFailed, match="cannot start"):
        run_sandboxed([tmp_path / "nothing"], tmp_path, 1.0)
