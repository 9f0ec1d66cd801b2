"""``--runner``: from what a user types to a runner."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from footprint_compiler.errors import UsageError
from footprint_compiler.targets import Target
from footprint_compiler.tuning.emulator import EmulatorRunner
from footprint_compiler.tuning.program import needs_linux
from footprint_compiler.tuning.runner import LocalRunner, Runner

FORMS = "local, emulator[:instructions|guarded], ssh://user@host or rpc://tracker:9190?key=board"
EMULATORS = ("emulator", "emulator:cycles", "emulator:instructions", "emulator:guarded")


def make_runner(text: str, target: Target) -> Runner:
    """A runner for ``target``.

    Args:
        text: one of ``FORMS``, or ``auto``: local where this machine is the target, else emulator.

    Raises:
        UsageError: the text is none of these, or a board would need Linux and has none.
        RunnerError: this machine or that device cannot run the target's code.
        ToolchainError: an emulator is missing.
    """
    if text == "auto":
        text = "local" if target.runner.kind == "local" else "emulator"
    if text == "local":
        return LocalRunner(target)
    if text in EMULATORS:
        return EmulatorRunner(target, text.partition(":")[2] or "cycles")
    parts = urlsplit(text)
    if parts.scheme in ("ssh", "rpc"):
        needs_linux(target)
    if parts.scheme == "ssh" and parts.hostname:
        from footprint_compiler.tuning.ssh import SshRunner

        user = f"{parts.username}@" if parts.username else ""
        return SshRunner(target, f"{user}{parts.hostname}", _port(text), parts.path or None)
    if parts.scheme == "rpc" and parts.hostname:
        from footprint_compiler.tuning.rpc import RpcRunner

        keys = parse_qs(parts.query).get("key", [])
        if len(keys) != 1:
            raise UsageError(f"{text!r} needs ?key=NAME, the key of the servers")
        return RpcRunner(target, parts.hostname, _port(text) or 9190, keys[0])
    raise UsageError(f"no runner {text!r}", f"Give one of {FORMS}.")


def _port(text: str) -> int | None:
    try:
        return urlsplit(text).port
    except ValueError as error:
        raise UsageError(f"{text!r}: {error}") from error
