"""Measure on a farm of boards: TVM's RPC tracker hands out its RPC servers, one per trial.

Every call runs in a worker process with a time limit, so that a dead board, server or tracker costs
time and not the session: a trial whose server vanished is tried again on another.
"""

from __future__ import annotations

import importlib.util
import socket
import uuid
from collections.abc import Sequence
from pathlib import Path

from footprint_compiler.errors import RunnerError, ToolchainError
from footprint_compiler.targets import Target
from footprint_compiler.tuning.processes import Worker
from footprint_compiler.tuning.program import link_library
from footprint_compiler.tuning.protocol import Argument
from footprint_compiler.tuning.runner import ProgramRunner
from footprint_compiler.tuning.trial import TrialFailed

CALL_S = 60.0
CONNECT_S = 5.0
ATTEMPTS = 3
START_S = 120.0


class RpcRunner(ProgramRunner):
    """Boards behind a tracker.

    Args:
        host, port: of the tracker.
        key: of the servers to use: one kind of board.
    """

    name, unit, exact = "rpc", "us", False

    def __init__(
        self, target: Target, host: str, port: int, key: str, timeout_s: float = CALL_S
    ) -> None:
        super().__init__(target, timeout_s)
        if importlib.util.find_spec("tornado") is None:
            raise ToolchainError(
                "TVM's RPC needs the package tornado", "Run `pip install tornado`."
            )
        self.tracker, self.key, self.host = (host, port), key, f"key {key}"
        self._worker = Worker()
        try:
            self._greet()
            known = self._worker.call("servers_of", self.tracker, key, timeout_s=START_S)
        except TrialFailed as failed:
            self._worker.close()
            raise RunnerError(
                failed.text,
                "Start one with `python -m tvm.exec.rpc_tracker --host 0.0.0.0 --port 9190`.",
            ) from failed
        if known == 0:
            self._worker.close()
            raise RunnerError(
                f"the tracker at {host}:{port} has no server with key {key}",
                "Start one with `python -m tvm.exec.rpc_server --tracker HOST:PORT --key KEY`.",
            )

    def link(
        self, objects: tuple[bytes, bytes], sides: Sequence[Sequence[Argument]], folder: Path
    ) -> Path:
        """A shared library instead of a program."""
        return link_library(self.target, objects, folder)

    def execute(self, program: Path, folder: Path) -> None:
        """On any server; on another one when it vanishes."""
        job, library = (folder / "job.bin").read_bytes(), program.read_bytes()
        for attempt in range(ATTEMPTS):
            name = f"measure-{uuid.uuid4().hex}.so"
            try:
                self._greet()
                out, report = self._worker.call(
                    "rpc", self.tracker, self.key, library, job, name, timeout_s=self.timeout_s
                )
            except TrialFailed as failed:
                there = self._is_there()
                if there and attempt + 1 < ATTEMPTS:
                    continue
                raise TrialFailed("runner" if there else "lost", failed.text) from failed
            (folder / "out.bin").write_bytes(out)
            (folder / "report.bin").write_bytes(report)
            return

    def _is_there(self) -> bool:
        """Whether the tracker answers and knows a server of the key, busy or not."""
        try:
            self._greet()
            count = self._worker.call("servers_of", self.tracker, self.key, timeout_s=START_S)
        except TrialFailed:
            return False
        return bool(count)

    def _greet(self) -> None:
        """TVM waits a minute for a tracker that has gone; this does not."""
        try:
            socket.create_connection(self.tracker, CONNECT_S).close()
        except OSError as error:
            host, port = self.tracker
            text = f"no RPC tracker at {host}:{port}: {error.strerror or error}"
            raise TrialFailed("lost", text) from error

    def close(self) -> None:
        """End the worker; servers and tracker stay."""
        self._worker.close()
