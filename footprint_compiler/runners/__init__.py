"""Run and measure artifacts: on this machine, in an emulator, with what each can tell."""

from __future__ import annotations

from footprint_compiler.runners.dispatch import available, bench, run
from footprint_compiler.runners.peak import rates
from footprint_compiler.runners.result import BenchResult, RunResult

__all__ = ["BenchResult", "RunResult", "available", "bench", "rates", "run"]
