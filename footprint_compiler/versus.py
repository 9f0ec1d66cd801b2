"""Time a build beside ONNX Runtime: in turn, in one process, one thread each.

Interleaving gives both the same clock frequency, the same neighbours and the same caches to
lose; the minimum over many turns is what the code can do.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from footprint_compiler.artifact import Artifact
from footprint_compiler.runtime.loader import Model, load
from footprint_compiler.samples import Sample
from footprint_compiler.validate import constant_feeds, onnxruntime_session

WARM_UP = 3


def time_against_onnxruntime(
    artifact: Artifact, sample: Sample, model: Path, repeat: int
) -> dict[str, Any]:
    """Microseconds of both.

    ONNX Runtime runs with all graph optimizations, one thread, and its inputs already bound. The
    build is called through ctypes with its inputs already in the arena.

    Returns:
        ``fpc`` and ``onnxruntime``, each with ``min_us``, ``median_us``, ``p90_us``, ``p99_us``;
        ``ratio`` of their minima (below 1 the build is faster); ``threads``; ``repeat``.

    Raises:
        RunnerError: the build is for another kind of machine.
        ModelFileError: ONNX Runtime cannot load the model.
    """
    with load(artifact) as ours:
        theirs = _OnnxRuntime(model, sample, artifact.manifest["model"].get("constants", {}))
        times: tuple[list[int], list[int]] = ([], [])
        for turn in range(WARM_UP + repeat):
            _fill(ours, sample)
            for kept, invoke in zip(times, (ours.invoke, theirs.invoke), strict=True):
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
        "threads": 1,
        "repeat": repeat,
    }


class _OnnxRuntime:
    """A session with bound inputs and outputs."""

    def __init__(self, model: Path, sample: Sample, constants: Mapping[str, Any]) -> None:
        self._session = onnxruntime_session(model, optimized=True)
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
