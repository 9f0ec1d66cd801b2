"""From the words of a command to layers: import again, build with tensors kept, run, compare."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from footprint_compiler import runners
from footprint_compiler.artifact import Artifact
from footprint_compiler.errors import ModelFileError
from footprint_compiler.frontend.qoperator import rewrite_quantized_operators
from footprint_compiler.output_scales import output_scales
from footprint_compiler.progress import Reporter
from footprint_compiler.samples import Sample
from footprint_compiler.targets import load_target
from footprint_compiler.tensor import TensorSpec
from footprint_compiler.validate import (
    Run,
    constant_feeds,
    onnxruntime_reference,
    onnxruntime_session,
)
from footprint_compiler.validation.difference import Tolerance
from footprint_compiler.validation.layers import Layer, LayerComparison, Models
from footprint_compiler.validation.references import evaluator
from footprint_compiler.validation.trace import (
    build_again,
    check_same,
    import_again,
    kept_tensors,
)


@dataclass(frozen=True)
class Request:
    """What a user asks for.

    Attributes:
        model: the ONNX file that the build was made from.
        constants: values of the inputs that the build made constant.
        reference: one of ``REFERENCES``.
        floating: file of the model before quantization, or None.
        host: also build for this machine, and compare.
        target: where the build's own target is not one of those that fpc brings.
        tolerance: what passes.
    """

    model: Path
    constants: Mapping[str, Any] = field(default_factory=dict)
    reference: str = "ort"
    floating: Path | None = None
    host: bool = False
    target: str | None = None
    tolerance: Tolerance = field(default_factory=Tolerance)


@dataclass(frozen=True)
class LayerReport:
    """Result of ``compare_layers``.

    Attributes:
        layers: in order of execution.
        unknown: tensors of the build whose names are not in the file.
        reference: as asked for.
    """

    layers: tuple[Layer, ...]
    unknown: tuple[str, ...]
    reference: str

    @property
    def passed(self) -> bool:
        """Whether every tensor is within its limit."""
        return all(layer.passed for layer in self.layers)


def compare_layers(
    artifact: Artifact,
    request: Request,
    samples: Iterable[Sample],
    reporter: Reporter | None = None,
) -> LayerReport:
    """Compare every tensor that the build writes to memory.

    The build's own library keeps no inner tensors: it is made again with copies of them, and must
    give the same bytes as before for every sample.

    Raises:
        ArtifactError: the build is not what this fpc makes of the model.
        FpcError: other subclasses, as for a build and a run.
    """
    reporter = reporter or Reporter()
    reporter.phase("build with all tensors kept")
    graph = import_again(artifact, request.model, request.constants)
    models = Models(
        _load(request.model),
        graph.metadata["model"],
        artifact.inputs,
        _feeds(request),
        request.reference,
        None if request.floating is None else _load(request.floating),
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fpc-")))
        target = load_target(request.target or artifact.target)
        tensors = kept_tensors(artifact)
        kept = artifact
        if not tensors:
            kept = build_again(artifact, graph, target, folder / "kept", reporter)
            tensors = kept_tensors(kept)
        host = None
        if request.host:
            native = build_again(artifact, graph, load_target("native"), folder / "host", reporter)
            host = _runner(native)
        specs = _with_steps(kept, request.model)
        comparison = LayerComparison(tensors, specs, models, request.tolerance, host)
        if comparison.without_floats:
            reporter.log(f"{request.floating} names no tensor of the build", "warning")
        run, plain = _runner(kept), _runner(artifact)
        reporter.phase("compare the tensors")
        for done, sample in enumerate(samples):
            found = run(sample)
            if kept is not artifact:
                check_same(artifact, plain(sample), found)
            comparison.add(sample, found)
            reporter.progress(done + 1, done + 1)
        return LayerReport(comparison.layers, comparison.unknown, request.reference)


def output_reference(
    model: Path, outputs: Sequence[TensorSpec], constants: Mapping[str, Any], kind: str
) -> Run:
    """A function from a sample to the reference outputs.

    Args:
        kind: one of ``REFERENCES``.
    """
    if kind == "ort":
        return onnxruntime_reference(model, outputs, constants)
    feeds = _feeds(Request(model, constants))
    proto = rewrite_quantized_operators(_load(model)) if kind == "exact" else _load(model)
    evaluate = evaluator(proto, [spec.name for spec in outputs], kind)
    return lambda sample: evaluate({**feeds, **sample})


def _runner(artifact: Artifact) -> Run:
    return lambda sample: runners.run(artifact, sample).outputs


def _feeds(request: Request) -> dict[str, np.ndarray]:
    if not request.constants:
        return {}
    return constant_feeds(onnxruntime_session(request.model), request.constants)


def _with_steps(artifact: Artifact, model: Path) -> dict[str, TensorSpec]:
    """Outputs by name; a float output that is dequantized has the size of its step."""
    scales = output_scales(model)
    return {
        spec.name: spec if spec.scale is not None else replace(spec, scale=scales.get(spec.name))
        for spec in artifact.outputs
    }


def _load(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf and file errors share no base class
        raise ModelFileError(f"{path} is not an ONNX model", "Check the path.") from error
