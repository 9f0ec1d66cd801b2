"""Small networks from text, and the judge: ONNX Runtime before and after, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime

from footprint_compiler.shrink import Shrinkage, remove_dead_channels

SAMPLES = 6


@dataclass(frozen=True)
class Shrunk:
    """A model after shrinking, found to compute the same bits as before.

    Attributes:
        model: the result.
        report: what was removed.
        arrays: initializers of the result.
    """

    model: onnx.ModelProto
    report: Shrinkage
    arrays: Mapping[str, np.ndarray]


def model(text: str, arrays: Mapping[str, np.ndarray], opset: int = 18) -> onnx.ModelProto:
    """A model with the graph ``text``; ``arrays`` become initializers."""
    graph = onnx.parser.parse_graph(text)
    graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in arrays.items())
    imports = [onnx.helper.make_opsetid("", opset)]
    return onnx.helper.make_model(graph, opset_imports=imports, ir_version=10)


def run(proto: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Outputs by ONNX Runtime, graph as written."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    return list(session.run(None, dict(feeds)))


def samples(proto: onnx.ModelProto, seed: int) -> dict[str, np.ndarray]:
    """Whole numbers for every input, so that sums in float32 are exact in any order."""
    random, feeds = np.random.default_rng(seed), {}
    for info in proto.graph.input:
        tensor = info.type.tensor_type
        shape = [d.dim_value for d in tensor.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        low, high = (-4, 5) if dtype.kind == "f" else (-128, 128)
        if dtype.kind == "b":
            low, high = 0, 2
        feeds[info.name] = random.integers(low, high, shape).astype(dtype)
    return feeds


def shrink(proto: onnx.ModelProto) -> Shrunk:
    """Remove dead channels; every output must keep every bit on several random inputs."""
    before = proto.SerializeToString(deterministic=True)
    result, report = remove_dead_channels(proto)
    assert proto.SerializeToString(deterministic=True) == before
    onnx.checker.check_model(result, full_check=True)
    for seed in range(SAMPLES):
        feeds = samples(proto, seed)
        for want, got in zip(run(proto, feeds), run(result, feeds), strict=True):
            assert got.shape == want.shape
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got, want)
    tensors = result.graph.initializer
    return Shrunk(result, report, {t.name: onnx.numpy_helper.to_array(t) for t in tensors})


def unchanged(proto: onnx.ModelProto) -> bool:
    """Nothing was removed and the very same model came back."""
    result, report = remove_dead_channels(proto)
    return result is proto and report == Shrinkage()


def weights(seed: int, *shape: int, dead: tuple[int, ...] = ()) -> np.ndarray:
    """Whole float32 numbers from 1 to 3 with signs; filters ``dead`` (first axis) are zero."""
    random = np.random.default_rng(seed)
    found = random.integers(1, 4, shape) * random.choice([-1, 1], shape)
    found[list(dead)] = 0
    return found.astype(np.float32)


def vector(*numbers: float) -> np.ndarray:
    """A float32 vector."""
    return np.asarray(numbers, np.float32)
