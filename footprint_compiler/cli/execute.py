"""Run samples one by one on this machine or in an emulator, and keep what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from footprint_compiler.cli import text
from footprint_compiler.errors import UsageError

if TYPE_CHECKING:
    from footprint_compiler.artifact import Artifact
    from footprint_compiler.runners import RunResult
    from footprint_compiler.samples import Sample


def need_emulator(artifact: Artifact) -> None:
    """What --emulate asks for.

    Raises:
        UsageError: the artifact is for this machine.
    """
    if artifact.manifest["runner"]["kind"] == "local":
        raise UsageError(
            f"{artifact.target} runs on this machine, not in an emulator",
            "Leave --emulate out, or build for arm64, armv7, a Cortex-M or an ESP32.",
        )


class Executor:
    """``execute(sample) -> outputs``; afterwards ``measured()`` tells what the last run saw."""

    def __init__(self, artifact: Artifact, *, count: bool = False, allow_nan: bool = False) -> None:
        self._artifact = artifact
        self._count = count
        self._allow_nan = allow_nan
        self._last: RunResult | None = None

    def __call__(self, sample: Sample) -> Sample:
        """Outputs of one sample by name.

        Raises:
            RunnerError: the device or emulator did not finish.
            ToolchainError: the emulator is not installed.
        """
        from footprint_compiler import runners

        self._last = runners.run(
            self._artifact, sample, count=self._count, allow_nan=self._allow_nan
        )
        return dict(self._last.outputs)

    def measured(self) -> dict[str, Any]:
        """Numbers of the last run; a number that nobody measured is left out."""
        if self._last is None:
            return {}
        keys = ("instructions", "counter", "stack_bytes_used", "arena_bytes_touched")
        return {k: v for k in keys if (v := getattr(self._last, k)) is not None}

    def facts(self) -> list[str]:
        """The same as lines for a reader."""
        found = self.measured()
        lines = []
        if "instructions" in found:
            lines.append(f"instructions {found['instructions']:,} ({found.get('counter', '')})")
        if "stack_bytes_used" in found:
            lines.append(f"stack used   {text.size(found['stack_bytes_used'])}")
        if "arena_bytes_touched" in found:
            lines.append(f"arena used   {text.size(found['arena_bytes_touched'])}")
        return lines
