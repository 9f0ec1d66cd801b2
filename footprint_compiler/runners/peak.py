"""Peaks of one core in multiply-accumulates per second, to hold a measured speed against.

Both are measured on this machine, by chains of instructions without loads.
"""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from footprint_compiler.artifact import Artifact
from footprint_compiler.errors import FpcError
from footprint_compiler.runners.cache import cached_file, key_of
from footprint_compiler.runners.compile import SOURCES, run_zig, zig_version
from footprint_compiler.runners.local import check_local
from footprint_compiler.runners.machine import machine_of

ROUNDS = 15
ROUND_S = 0.002


@dataclass(frozen=True)
class Peaks:
    """Billions of multiply-accumulates per second on one core; None where unknown."""

    float32: float | None
    int8: float | None


def measured_peaks(artifact: Artifact) -> Peaks:
    """Of this machine, with the CPU features that an artifact was built for.

    Raises:
        RunnerError: this CPU lacks one of them.
        ToolchainError: zig is missing or fails.
    """
    check_local(machine_of(artifact))
    toolchain = artifact.manifest["toolchain"]
    source = SOURCES / "peak.c"
    target, cpu = str(toolchain["zig_target"]), str(toolchain["zig_cpu"])

    def make(folder: Path) -> Path:
        flags = ["-O3", "-g0", "-shared", "-fPIC", "-ffp-contract=fast", "-fno-sanitize=all"]
        run_zig(["cc", "-target", target, f"-mcpu={cpu}", *flags, source, "-o", "peak.so"], folder)
        return folder / "peak.so"

    key = key_of([source.read_bytes(), target, cpu, zig_version()])
    library = ctypes.CDLL(str(cached_file("peak.so", key, make)))
    return Peaks(*(_rate(library[f"fpc_peak_{kind}"]) for kind in ("float", "int8")))


def _rate(function: Any) -> float | None:
    function.restype = ctypes.c_uint64
    function.argtypes = [ctypes.c_uint64, ctypes.POINTER(ctypes.c_float)]
    sink = (ctypes.c_float * 2)(0.5, 0.25)
    repeats, best = 1000, 0.0
    for _ in range(ROUNDS):
        start = time.perf_counter()
        products = int(function(repeats, sink))
        seconds = time.perf_counter() - start
        if products == 0:
            return None
        best = max(best, products / seconds / 1e9)
        if seconds < ROUND_S:
            repeats *= 2
    return best


def rates(artifact: Artifact, min_us: float) -> dict[str, float]:
    """``gmacs_per_s`` of a measured time and, where a peak is known, ``peak_percent``.

    The peak is that of 8-bit integers where most products are of such, of all threads of the build.
    """
    macs = int(artifact.manifest["macs"])
    if macs == 0 or min_us <= 0:
        return {}
    speed = macs / min_us / 1000.0
    found = {"gmacs_per_s": round(speed, 2)}
    try:
        peaks = measured_peaks(artifact)
    except FpcError:
        return found
    integer = 2 * int(artifact.manifest.get("integer_macs", 0)) > macs
    peak = peaks.int8 if integer else peaks.float32
    if peak:
        peak *= int(artifact.manifest.get("threads", 1))
        found["peak_gmacs"] = round(peak, 1)
        found["peak_percent"] = round(100.0 * speed / peak, 1)
    return found
