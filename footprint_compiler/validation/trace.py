"""The inner tensors of a build: the same program again, with copies of what its kernels write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx

from footprint_compiler.artifact import Artifact
from footprint_compiler.build import build_graph
from footprint_compiler.errors import ArtifactError
from footprint_compiler.frontend import import_model
from footprint_compiler.graph import Graph
from footprint_compiler.options import BuildOptions
from footprint_compiler.progress import Reporter
from footprint_compiler.targets import Target
from footprint_compiler.tuning.in_manifest import write_again


@dataclass(frozen=True)
class KeptTensor:
    """One ONNX tensor that a kernel of the build writes.

    Attributes:
        name: in the model.
        kernel, family: C symbol and kind of the kernel that completes it.
        step: number of the kernel call, copies not counted.
        reads: tensors kept before, and inputs of the model, that it is computed from.
        is_output: of the model.
    """

    name: str
    kernel: str
    family: str
    step: int
    reads: tuple[str, ...]
    is_output: bool


def kept_tensors(artifact: Artifact) -> tuple[KeptTensor, ...]:
    """What a build with ``keep_tensors`` keeps, in order of execution; nothing for other builds."""
    found = []
    calls = [row for row in artifact.manifest["layers"] if row.get("family") != "keep"]
    for step, row in enumerate(calls):
        for kept in row.get("keeps", []):
            found.append(
                KeptTensor(
                    str(kept["tensor"]),
                    str(row["kernel"]),
                    str(row.get("family", "")),
                    step,
                    tuple(kept["reads"]),
                    bool(kept["output"]),
                )
            )
    return tuple(found)


def import_again(
    artifact: Artifact, model: Path | onnx.ModelProto, constants: Mapping[str, Any]
) -> Graph:
    """The model as the build imported it: same shapes, constants and options."""
    proto = onnx.load(model) if isinstance(model, Path) else model
    given = {info.name for info in proto.graph.input}
    shapes = {spec.name: spec.shape for spec in artifact.inputs if spec.name in given}
    fixed = {name: value for name, value in constants.items() if name in given}
    options = options_of(artifact)
    return import_model(model, shapes, fixed, options.shrink, options.io)


def build_again(
    artifact: Artifact,
    graph: Graph,
    target: Target,
    out: Path,
    reporter: Reporter | None = None,
    **changes: Any,
) -> Artifact:
    """The build for the same target, with its tuning records, or for another one.

    Args:
        changes: of its options; by default its tensors are kept.
    """
    changes = changes or {"keep_tensors": True}
    options = replace(options_of(artifact), name=artifact.name, **changes)
    with TemporaryDirectory(prefix="fpc-") as folder:
        own = artifact.manifest["tuning_records"] if target.name == artifact.target else ()
        records = write_again(own, target, Path(folder))
        options = replace(options, tuning_records=records)
        return build_graph(graph, target, options, out, reporter or Reporter())


def options_of(artifact: Artifact) -> BuildOptions:
    """The options that decide what is computed, as the manifest has them.

    Raises:
        ArtifactError: it names options that this fpc does not know.
    """
    recorded = dict(artifact.manifest.get("options", {}))
    recorded.pop("pools", None)  # where tensors lie does not change them
    try:
        return BuildOptions(**recorded)
    except TypeError as error:
        raise ArtifactError(f"{artifact.path} was built by another version of fpc") from error


def check_same(
    artifact: Artifact, outputs: Mapping[str, np.ndarray], kept: Mapping[str, np.ndarray]
) -> None:
    """Whether the build with its tensors kept computes the same bytes.

    Raises:
        ArtifactError: it does not, so that its tensors say nothing about the build.
    """
    rows = any(row.get("family") == "rows" for row in artifact.manifest["layers"])
    for name, array in outputs.items():
        if array.tobytes() == kept[name].tobytes():
            continue
        if rows:
            raise ArtifactError(
                f"{artifact.path} runs layers row by row, and gives other values for {name!r} "
                "than with whole tensors, which can be kept",
                "Validate a build with --optimize-for speed; where that is right, rows are not.",
            )
        raise ArtifactError(
            f"{artifact.path} is not what this fpc makes of the model: "
            f"with its tensors kept, {name!r} has other values",
            "Build it again with `fpc build`, from the file given as --model.",
        )
