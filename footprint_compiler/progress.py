"""How long work tells its caller what it is doing. Silent by default; the CLI draws it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LEVELS = ("debug", "info", "warning", "explain")


@dataclass(frozen=True)
class PassRecord:
    """What one pass did: seconds, operators before and after, bytes of constants after."""

    name: str
    seconds: float
    ops_before: int
    ops_after: int
    constant_bytes: int
    changed: bool


class Reporter:
    """Receives events of a build, a run or a measurement; this base class ignores them.

    Methods return nothing and never raise, so that library code calls them without guards.
    """

    def phase(self, name: str) -> None:
        """A new phase starts, which ends the one before; ``name`` is a short verb phrase."""

    def progress(self, done: int, total: int) -> None:
        """``done`` of ``total`` units of the current phase are complete."""

    def log(self, message: str, level: str = "info") -> None:
        """One line of text; ``level`` is one of ``LEVELS``.

        ``explain`` is for the lines that ``BuildOptions.explain`` asked for.
        """

    def pass_done(self, record: PassRecord) -> None:
        """A pass has finished."""

    def quantized(self, outcome: Any) -> None:
        """The model was quantized; ``outcome`` is a ``quantize.session.Outcome``."""

    def close(self) -> None:
        """No more events follow; a drawing reporter restores the terminal."""
