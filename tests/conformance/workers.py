"""Run each case in a forked process, so that a crash or a hang is one row."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

from .cases import Case
from .execute import Outcome


@dataclass
class _Child:
    case: Case
    pid: int
    pipe: int
    deadline: float
    data: bytes = b""


def run_forked(
    cases: Sequence[Case],
    work: Callable[[Case], Outcome],
    jobs: int,
    timeout_seconds: float,
) -> Iterator[Outcome]:
    """Outcomes in order of completion."""
    waiting = list(reversed(cases))
    running: list[_Child] = []
    while waiting or running:
        while waiting and len(running) < jobs:
            running.append(_start(waiting.pop(), work, timeout_seconds))
        ready, _, _ = select.select([c.pipe for c in running], [], [], 1.0)
        for child in list(running):
            finished = False
            if child.pipe in ready:
                chunk = os.read(child.pipe, 65536)
                child.data += chunk
                finished = not chunk
            elif time.monotonic() > child.deadline:
                os.kill(child.pid, signal.SIGKILL)
                finished = True
            if finished:
                running.remove(child)
                yield _finish(child)


def _start(case: Case, work: Callable[[Case], Outcome], timeout_seconds: float) -> _Child:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        status = 1
        try:
            os.write(write, json.dumps(asdict(work(case))).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    return _Child(case, pid, read, time.monotonic() + timeout_seconds)


def _finish(child: _Child) -> Outcome:
    os.close(child.pipe)
    _, status = os.waitpid(child.pid, 0)
    if child.data:
        return Outcome(**json.loads(child.data))
    if time.monotonic() > child.deadline:
        detail = "timeout"
    elif os.WIFSIGNALED(status):
        detail = f"killed by signal {os.WTERMSIG(status)}"
    else:
        detail = f"exit code {os.waitstatus_to_exitcode(status)}"
    return Outcome(child.case.name, "failed", "", child.case.operator, detail)
