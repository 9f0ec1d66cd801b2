"""Measure on a device behind ssh: the static measuring program is copied there and run.

The device needs nothing but sshd. One master connection serves a whole session, so that a trial
costs one copy and one command. The user's own ssh configuration and keys are used; ssh never asks
for a password here.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from footprint_compiler.errors import RunnerError, ToolchainError
from footprint_compiler.targets import Target
from footprint_compiler.tuning.runner import ProgramRunner
from footprint_compiler.tuning.trial import TrialFailed

CONNECT_S = 15
FILES = ("out.bin", "report.bin")
NO_CONNECTION = 255
"""Status of ssh itself, as opposed to that of the command on the device."""


class SshRunner(ProgramRunner):
    """A device that runs the target's code.

    Args:
        host: as ssh takes it, ``user@host``.
        port: of sshd; ssh's own choice when None.
        place: folder on the device in which a working folder is made; ``/tmp`` when None.
        config: file given to ssh with ``-F``; the user's own when None.
    """

    name, unit, exact = "ssh", "us", False

    def __init__(
        self,
        target: Target,
        host: str,
        port: int | None = None,
        place: str | None = None,
        config: Path | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        super().__init__(target, timeout_s)
        ssh = shutil.which("ssh")
        if ssh is None:
            raise ToolchainError("ssh is not installed", "Run `apt-get install openssh-client`.")
        self._control = tempfile.mkdtemp(prefix="fpc-ssh-")
        options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_S}"]
        options += ["-o", "ControlMaster=auto", "-o", f"ControlPath={self._control}/c"]
        options += ["-o", "ControlPersist=60", "-o", "ServerAliveInterval=5"]
        options += ["-o", "ServerAliveCountMax=3"]
        options += ["-F", str(config)] if config else []
        options += ["-p", str(port)] if port else []
        self._ssh = [ssh, *options, host]
        self._address = host
        try:
            parent = shlex.quote(place or "/tmp")
            self._folder = self._ask(f"mktemp -d {parent}/fpc-tune-XXXXXX").decode().strip()
            self.host = (
                self._ask("cat /proc/cpuinfo | grep -m1 -i 'model name' | cut -d: -f2 || :")
                .decode(errors="replace")
                .strip()
            )
        except TrialFailed as failed:
            self._forget()
            raise RunnerError(
                f"cannot reach {host}: {failed.text}", "Try `ssh HOST true` with a key first."
            ) from failed

    def execute(self, program: Path, folder: Path) -> None:
        """Copy, run with a time limit on the device, copy back: one command, one connection."""
        inside = shlex.quote(self._folder)
        limit = int(self.timeout_s)
        names = " ".join(FILES)
        script = (
            f"mkdir -p {inside} && cd {inside} && rm -f {names} && tar xf - && "
            "if command -v timeout >/dev/null; then limit='timeout "
            f"{limit}'; fi; $limit ./measure >&2 && tar cf - {names}"
        )
        packed = subprocess.run(
            ["tar", "cf", "-", program.name, "job.bin"],
            cwd=folder,
            capture_output=True,
            check=True,
            timeout=self.timeout_s,
        ).stdout
        answer = self._ask(script, packed)
        try:
            subprocess.run(
                ["tar", "xf", "-", *FILES],
                cwd=folder,
                input=answer,
                capture_output=True,
                check=True,
                timeout=self.timeout_s,
            )
        except subprocess.CalledProcessError as error:
            raise TrialFailed("runner", f"{self._address} sent no results") from error

    def close(self) -> None:
        """Remove the folder on the device and end the connection."""
        with contextlib.suppress(TrialFailed):
            self._ask(f"rm -rf {shlex.quote(self._folder)}")
        self._forget()

    def _forget(self) -> None:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                [*self._ssh[:-1], "-O", "exit", self._ssh[-1]], capture_output=True, timeout=10
            )
        shutil.rmtree(self._control, ignore_errors=True)

    def _ask(self, script: str, given: bytes = b"") -> bytes:
        """What ``script`` prints on the device.

        Raises:
            TrialFailed: it fails, or does not end in time.
        """
        try:
            done = subprocess.run(
                [*self._ssh, script],
                input=given,
                capture_output=True,
                timeout=self.timeout_s + CONNECT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TrialFailed("timeout", f"{self._address} did not answer in time") from None
        if done.returncode == 124:
            raise TrialFailed("timeout", f"did not end within {self.timeout_s:g} s")
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            reason = said[-1] if said else f"status {done.returncode}"
            kind = "lost" if done.returncode == NO_CONNECTION else "crash"
            raise TrialFailed(kind, f"{self._address}: {reason}")
        return done.stdout
