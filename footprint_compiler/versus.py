"""Time a build beside ONNX Runtime: in turn, in one process, with as many threads.

Interleaving gives both the same clock frequency, the same neighbours and the same caches to
lose; the minimum over many turns is what the code can do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from footprint_compiler.artifact import Artifact
from footprint_compiler.runtime.loader import Model, load
from footprint_compiler.samples import Sample
from footprint_compiler.validate import constant_feeds, onnxruntime_session

WARM_UP = 3
ALONE_S = 0.002
"""Untimed calls before each timed one where there are threads: those of the other engine wait for
more work in a loop for some time, and would take a core."""


def time_against_onnxruntime(
    artifact: Artifact, sample: Sample, model: Path, repeat: int
) -> dict[str, Any]:
    """Microseconds of both.

    ONNX Runtime runs with all graph optimizations, the threads of the build, and its inputs already
    bound. The build is called through ctypes with its inputs already in the arena.

    Returns:
        ``fpc`` and ``onnxruntime``, each with ``min_us``, ``median_us``, ``p90_us``, ``p99_us``;
        ``ratio`` of their minima (below 1 the build is faster); ``threads``; ``repeat``.

    Raises:
        RunnerError: the build is for another kind of machine.
        ModelFileError: ONNX Runtime cannot load the model.
    """
    threads = int(artifact.manifest.get("threads", 1))
    with load(artifact) as ours:
        constants = artifact.manifest["model"].get("constants", {})
        theirs = _OnnxRuntime(model, sample, constants, threads)
        times: tuple[list[int], list[int]] = ([], [])
        for turn in range(WARM_UP + repeat):
            for kept, invoke in zip(times, (ours.invoke, theirs.invoke), strict=True):
                if threads > 1:
                    _repeat(invoke, ALONE_S)
                _fill(ours, sample)
                start = time.perf_counter_ns()
                invoke()
                elapsed = time.perf_counter_ns() - start
                if turn >= WARM_UP:
                    kept.append(elapsed)
    mine, reference = (_statistics(kept) for kept in times)
    return {
        "fpc": mine,
        "onnxruntime": reference,
        "ratio": round(mine["min_us"] / reference["min_us"], 3),
        "threads": threads,
        "repeat": repeat,
    }


class _OnnxRuntime:
    """A session with bound inputs and outputs."""

    def __init__(
        self, model: Path, sample: Sample, constants: Mapping[str, Any], threads: int
    ) -> None:
        self._session = onnxruntime_session(model, optimized=True, threads=threads)
        self._binding = self._session.io_binding()
        given = {put.name for put in self._session.get_inputs()}
        feeds = {**constant_feeds(self._session, constants), **sample}
        for name, array in feeds.items():
            if name in given:
                self._binding.bind_cpu_input(name, array)
        for put in self._session.get_outputs():
            self._binding.bind_output(put.name)

    def invoke(self) -> None:
        self._session.run_with_iobinding(self._binding)


def _repeat(call: Callable[[], None], seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        call()


def _fill(model: Model, sample: Sample) -> None:
    """Inputs may be overwritten by an inference, so each one gets them afresh, untimed."""
    for index, spec in enumerate(model.inputs):
        model.input_view(index)[...] = sample[spec.name]


def _statistics(nanoseconds: list[int]) -> dict[str, float]:
    import numpy as np

    values = np.sort(np.asarray(nanoseconds)) / 1000
    return {
        "min_us": round(float(values[0]), 2),
        "median_us": round(float(np.median(values)), 2),
        "p90_us": round(float(np.percentile(values, 90)), 2),
        "p99_us": round(float(np.percentile(values, 99)), 2),
    }
