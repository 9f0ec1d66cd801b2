"""Run a float model on calibration samples and keep, per tensor, what observers need.

Two runs over the samples: ranges first, then histograms over these ranges. Memory does not grow
with the number of samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime

from footprint_compiler.errors import InputDataError, ModelFileError
from footprint_compiler.samples import Sample

BINS = 2048


@dataclass(frozen=True)
class TensorStatistics:
    """Of one tensor over all samples.

    Attributes:
        lows, highs: extremes in each sample.
        counts: histogram of ``BINS`` equal bins over [min(lows), max(highs)].
        channel_low, channel_high: extremes along axis 1 (size 1 for tensors of rank < 2).
    """

    lows: np.ndarray
    highs: np.ndarray
    counts: np.ndarray
    channel_low: np.ndarray
    channel_high: np.ndarray

    @property
    def low(self) -> float:
        """Smallest value seen."""
        return float(self.lows.min())

    @property
    def high(self) -> float:
        """Largest value seen."""
        return float(self.highs.max())


class Runner:
    """A model in ONNX Runtime, one thread, evaluated as written.

    Args:
        tensors: names of inner tensors that are made outputs too.
    """

    def __init__(self, model: onnx.ModelProto, tensors: Sequence[str] = ()) -> None:
        wide = onnx.ModelProto()
        wide.CopyFrom(model)
        inputs = {i.name for i in wide.graph.input}
        self.names = list(dict.fromkeys(tensors))
        self._given = [name for name in self.names if name in inputs]
        have = {o.name for o in wide.graph.output}
        for name in self.names:
            if name not in have and name not in inputs:
                wide.graph.output.append(onnx.ValueInfoProto(name=name))
        _prune(wide.graph, [name for name in self.names if name not in inputs])
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                wide.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime raises many types that share no base class
            raise ModelFileError(f"ONNX Runtime cannot load the model: {error}") from error
        self._computed = [name for name in self.names if name not in inputs]
        self.inputs = [item.name for item in self._session.get_inputs()]

    def run(self, sample: Sample) -> dict[str, np.ndarray]:
        """The tensors asked for."""
        found = {name: sample[name] for name in self._given}
        if self._computed:
            try:
                results = self._session.run(self._computed, sample)
            except Exception as error:  # as above
                raise ModelFileError(f"ONNX Runtime cannot run the model: {error}") from error
            found |= dict(zip(self._computed, results, strict=True))
        return found


def _prune(graph: onnx.GraphProto, wanted: Sequence[str]) -> None:
    """Drop what is not needed for the wanted outputs; graphs with subgraphs are left whole."""
    kinds = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
    if not wanted or any(a.type in kinds for node in graph.node for a in node.attribute):
        return
    needed, nodes = set(wanted), []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    outputs = [output for output in graph.output if output.name in wanted]
    constants = [tensor for tensor in graph.initializer if tensor.name in needed]
    for field, kept in (
        (graph.node, nodes[::-1]),
        (graph.output, outputs),
        (graph.initializer, constants),
    ):
        copies = [type(item).FromString(item.SerializeToString()) for item in kept]
        del field[:]
        field.extend(copies)


def collect(
    model: onnx.ModelProto, tensors: Sequence[str], samples: Sequence[Sample]
) -> dict[str, TensorStatistics]:
    """Statistics of the named tensors.

    Raises:
        InputDataError: a tensor is not finite for some sample.
    """
    if not samples:
        raise InputDataError("there is no calibration sample")
    runner = Runner(model, tensors)
    lows: dict[str, list[float]] = {name: [] for name in tensors}
    highs: dict[str, list[float]] = {name: [] for name in tensors}
    channels: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for index, sample in enumerate(samples):
        for name, array in runner.run(sample).items():
            low, high = float(array.min(initial=0)), float(array.max(initial=0))
            if array.size:
                low, high = float(array.min()), float(array.max())
            if not np.isfinite(low) or not np.isfinite(high):
                raise InputDataError(
                    f"tensor {name!r} is not finite for calibration sample {index}",
                    "Remove that sample, or mend the model.",
                )
            lows[name].append(low)
            highs[name].append(high)
            least, most = _channels(array)
            if name in channels:
                least = np.minimum(least, channels[name][0])
                most = np.maximum(most, channels[name][1])
            channels[name] = least, most
    edges = {name: (min(lows[name]), max(highs[name])) for name in tensors}
    counts = {name: np.zeros(BINS, np.int64) for name in tensors}
    for sample in samples:
        for name, array in runner.run(sample).items():
            low, high = edges[name]
            counts[name] += np.histogram(array, BINS, (low, high if high > low else low + 1))[0]
    return {
        name: TensorStatistics(
            np.array(lows[name]), np.array(highs[name]), counts[name], *channels[name]
        )
        for name in tensors
    }


def _channels(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if array.ndim < 2 or not array.size:
        flat = array.reshape(-1) if array.size else np.zeros(1, np.float32)
        return flat.min(keepdims=True), flat.max(keepdims=True)
    others = tuple(axis for axis in range(array.ndim) if axis != 1)
    return array.min(axis=others), array.max(axis=others)
