"""A model after import: a Relax module with static shapes, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from footprint_compiler.tensor import TensorSpec


@dataclass(frozen=True)
class Graph:
    """An imported model.

    Attributes:
        module: TVM ``IRModule`` whose function ``main`` takes the model's inputs in order and
            returns a tensor, or a tuple in the order of ``outputs``; weights are Relax constants.
        inputs, outputs: names as in the ONNX file.
        source: file name (no folder) of the model.
        sha256: of the bytes of the model file (and its external data, in order of use).
        metadata: what the frontend knows beyond that, for example ``macs`` by node.
    """

    module: Any
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    source: str
    sha256: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
