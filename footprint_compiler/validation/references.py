"""What the tensors of a model should be: three evaluations of the same ONNX file.

- ``ort``: ONNX Runtime with its graph optimizations off, so that QDQ is computed as written, in
  float32;
- ``ort-optimized``: ONNX Runtime as people deploy it; on CPUs without VNNI its 8-bit products may
  saturate at 16 bits, and elsewhere they round at other places than QDQ as written;
- ``exact``: QDQ as written in float64, see ``exact``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime

from footprint_compiler.codes import FLOATS, to_real
from footprint_compiler.errors import ModelFileError
from footprint_compiler.samples import Sample
from footprint_compiler.tensor import TensorSpec
from footprint_compiler.validation.exact import ExactModel

REFERENCES = ("ort", "ort-optimized", "exact")

Evaluate = Callable[[Sample], dict[str, np.ndarray]]

GIVEN = "//given"
"""Suffix of the inputs of a model that was cut, see ``cut_model``."""


def evaluator(model: onnx.ModelProto, names: Sequence[str], kind: str) -> Evaluate:
    """A function from a sample to the named tensors.

    Args:
        names: inner tensors or outputs.
        kind: one of ``REFERENCES``.

    Raises:
        ModelFileError, UnsupportedModelError: the reference cannot take the model.
    """
    if kind == "exact":
        exact = ExactModel(model)
        return lambda sample: exact.run(names, sample)
    session = _session(_with_outputs(model, names), optimized=kind == "ort-optimized")
    given = {put.name for put in session.get_inputs()}

    def run(sample: Sample) -> dict[str, np.ndarray]:
        feeds = {name: array for name, array in sample.items() if name in given}
        try:
            return dict(zip(names, session.run(list(names), feeds), strict=True))
        except Exception as error:  # ONNX Runtime raises many types that share no base class
            raise ModelFileError(
                f"ONNX Runtime cannot run the model: {error}",
                "Give the model that the build was made from, and its --constant values.",
            ) from error

    return run


def tensor_names(model: onnx.ModelProto) -> set[str]:
    """Everything that a node of the main graph computes."""
    return {name for node in model.graph.node for name in node.output if name}


def real_inputs(model: onnx.ModelProto, feeds: Sample, specs: Iterable[TensorSpec]) -> Sample:
    """Inputs that a build takes as codes, as real numbers where the model takes floats."""
    kinds = {info.name: info.type.tensor_type.elem_type for info in model.graph.input}
    return feeds | {
        spec.name: to_real(feeds[spec.name], spec)
        for spec in specs
        if spec.scale is not None and "int" in spec.dtype and kinds.get(spec.name) in FLOATS
    }


def cut_model(
    model: onnx.ModelProto, at: Mapping[str, np.ndarray], outputs: Iterable[str]
) -> onnx.ModelProto:
    """A copy in which every reader of a tensor of ``at`` reads an input ``<name>//given`` instead.

    Each of the ``outputs`` then depends on nothing but the tensors right before it.
    """
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    for node in cut.graph.node:
        for position, name in enumerate(node.input):
            if name in at:
                node.input[position] = name + GIVEN
    for name, array in at.items():
        dtype = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        info = onnx.helper.make_tensor_value_info(name + GIVEN, dtype, array.shape)
        cut.graph.input.append(info)
    return _with_outputs(cut, list(outputs))


def _with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """A copy whose outputs are the named tensors, of types that ONNX Runtime infers."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    del wide.graph.output[:]
    wide.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return wide


def _session(model: onnx.ModelProto, optimized: bool) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = (
        levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    )
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # as above
        raise ModelFileError(f"ONNX Runtime cannot load the model: {error}") from error
