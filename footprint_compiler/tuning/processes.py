"""Worker processes: a call that crashes, hangs or is killed costs that call and nothing else."""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from footprint_compiler.tuning.trial import TrialFailed
from footprint_compiler.tuning.worker import LENGTH

MEMORY_BYTES = 4 << 30
"""Address space of a measuring process."""
SPARE_CPU_S = 5
"""CPU time of a measuring process beyond its time limit."""


class Worker:
    """A process that answers calls; started at the first one, and again after a failure.

    Args:
        command: started with pipes for its input and output; the compiling worker by default.
    """

    def __init__(self, command: Sequence[str] | None = None) -> None:
        self.command = tuple(command or (sys.executable, "-m", "footprint_compiler.tuning.worker"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return self._process.pid if self._process else None

    def call(self, name: str, *arguments: Any, timeout_s: float) -> Any:
        """The result of ``name(*arguments)`` in the worker.

        Raises:
            TrialFailed: it raised, died, or did not answer in time (then it is killed).
        """
        process = self._process or self._start()
        data = pickle.dumps((name, arguments))
        deadline = time.monotonic() + timeout_s
        try:
            self._write(process, LENGTH.pack(len(data)) + data, deadline)
            size = LENGTH.unpack(self._read(process, LENGTH.size, deadline))[0]
            fine, answer = pickle.loads(self._read(process, size, deadline))
        except BrokenPipeError:
            self.close()
            raise TrialFailed("crash", "the compiling worker died") from None
        except TrialFailed:
            self.close()
            raise
        if not fine:
            raise TrialFailed("build", str(answer))
        return answer

    def close(self) -> None:
        """End the process; the next call starts another."""
        if self._process is not None:
            kill_group(self._process)
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self._process

    def _write(self, process: subprocess.Popen[bytes], data: bytes, deadline: float) -> None:
        assert process.stdin is not None
        pipe, rest = process.stdin.fileno(), memoryview(data)
        os.set_blocking(pipe, False)
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_WRITE)
            while rest:
                _wait(selector, deadline)
                rest = rest[os.write(pipe, rest) :]

    def _read(self, process: subprocess.Popen[bytes], size: int, deadline: float) -> bytes:
        assert process.stdout is not None
        parts, missing = [], size
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while missing:
                _wait(selector, deadline)
                part = os.read(process.stdout.fileno(), missing)
                if not part:
                    raise TrialFailed("crash", f"the compiling worker {_ending(process)}")
                parts.append(part)
                missing -= len(part)
        return b"".join(parts)


def _wait(selector: selectors.BaseSelector, deadline: float) -> None:
    if not selector.select(max(0.0, deadline - time.monotonic())):
        raise TrialFailed("timeout", "compiling took too long")


def run_sandboxed(
    command: Sequence[str | Path],
    folder: Path,
    timeout_s: float,
    core: int | None = None,
    memory_bytes: int | None = MEMORY_BYTES,
) -> None:
    """Run a program in a session of its own, with little memory, on one core; killed when late.

    A limit of CPU time ends it, too, should this process be killed before it can do so.

    Args:
        core: CPU to pin it to; None leaves it free.
        memory_bytes: limit of its address space; an emulator reserves more than it uses.

    Raises:
        TrialFailed: it cannot be started, does not end in time, or ends with another status than 0.
    """

    def confine() -> None:
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_CPU, int(timeout_s) + SPARE_CPU_S)
        if memory_bytes is not None:
            _limit(resource.RLIMIT_AS, memory_bytes)
        if core is not None:
            os.sched_setaffinity(0, {core})

    try:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=confine,
        )
    except (OSError, subprocess.SubprocessError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise TrialFailed("crash", f"cannot start {command[0]}: {reason}") from error
    try:
        _, said = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        kill_group(process)
        raise TrialFailed("timeout", f"did not end within {timeout_s:g} s") from None
    except BaseException:
        kill_group(process)
        raise
    if process.returncode:
        text = said.decode(errors="replace").strip().splitlines()
        raise TrialFailed("crash", " ".join([_ending(process), *text[:1]]))


def _limit(what: int, value: int) -> None:
    """Lower a limit of this process; one that is lower already stays."""
    _, hard = resource.getrlimit(what)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(what, (value, value))


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads its own session, with its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stderr is not None:
        process.stderr.close()


def quiet_core() -> int | None:
    """The core to measure on: the last one allowed, away from where interrupts usually go."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    return max(os.sched_getaffinity(0))


def _ending(process: subprocess.Popen[bytes]) -> str:
    code = process.poll()
    if code is None:
        code = process.wait()
    return f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"
