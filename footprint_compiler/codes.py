"""Quantized codes and the real numbers that they stand for: real = scale * (code - zero point).

A build with ``--io int8`` takes and gives codes where its model has float tensors. ``with_codes``
lets the model's own reference take and give them too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from footprint_compiler.errors import ModelFileError
from footprint_compiler.samples import Sample
from footprint_compiler.tensor import TensorSpec

Run = Callable[[Sample], Mapping[str, np.ndarray]]
FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)


def to_codes(real: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """What QuantizeLinear gives: rounded half to even in float32, saturated."""
    limits = np.iinfo(spec.dtype)
    steps = np.rint(np.asarray(real, np.float32) / np.float32(spec.scale))
    codes = np.clip(steps + (spec.zero_point or 0), limits.min, limits.max)
    result: np.ndarray = codes.astype(spec.dtype)
    return result


def to_real(codes: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """What DequantizeLinear gives, in float32."""
    centred = np.asarray(codes).astype(np.int64) - (spec.zero_point or 0)
    real: np.ndarray = centred.astype(np.float32) * np.float32(spec.scale)
    return real


def with_codes(
    run: Run, model: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> Run:
    """``run`` of ``model`` with codes for those of its float tensors that the specs have as codes.

    Args:
        inputs, outputs: specs of the build.

    Raises:
        ModelFileError: the file is not an ONNX model.
    """
    real = _float_tensors(model)
    given = [s for s in inputs if s.scale is not None and "int" in s.dtype and s.name in real]
    made = [s for s in outputs if s.scale is not None and "int" in s.dtype and s.name in real]
    if not given and not made:
        return run

    def on_codes(sample: Sample) -> Mapping[str, np.ndarray]:
        feeds = sample | {s.name: to_real(sample[s.name], s) for s in given}
        results = dict(run(feeds))
        return results | {s.name: to_codes(results[s.name], s) for s in made}

    return on_codes


def _float_tensors(model: Path) -> frozenset[str]:
    """Names of the float inputs and outputs of a model."""
    try:
        graph = onnx.load(model, load_external_data=False).graph
    except Exception as error:  # protobuf and file errors share no base class
        raise ModelFileError(f"{model} is not an ONNX model", "Check the path.") from error
    tensors = [*graph.input, *graph.output]
    return frozenset(t.name for t in tensors if t.type.tensor_type.elem_type in FLOATS)
