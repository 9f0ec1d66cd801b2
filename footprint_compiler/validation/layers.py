"""One report for each tensor of the model that a build writes to memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx

from footprint_compiler.codes import to_codes
from footprint_compiler.errors import InputDataError
from footprint_compiler.frontend.qoperator import rewrite_quantized_operators
from footprint_compiler.samples import Sample
from footprint_compiler.tensor import TensorSpec
from footprint_compiler.validate import Run
from footprint_compiler.validation.difference import Difference, Tolerance
from footprint_compiler.validation.floating import FloatModel
from footprint_compiler.validation.nodes import nodes_between
from footprint_compiler.validation.references import (
    GIVEN,
    Evaluate,
    cut_model,
    evaluator,
    real_inputs,
    tensor_names,
)
from footprint_compiler.validation.trace import KeptTensor


@dataclass(frozen=True)
class Models:
    """What a build is compared with.

    Attributes:
        original: the ONNX file.
        compiled: the same after simplification and shrinking, as it was compiled.
        inputs: of the build; it may take codes where the file has float inputs.
        constants: arrays of the inputs that the build made constant.
        reference: one of ``REFERENCES``.
        floating: the model before quantization, or None.
    """

    original: onnx.ModelProto
    compiled: onnx.ModelProto
    inputs: tuple[TensorSpec, ...]
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)
    reference: str = "ort"
    floating: onnx.ModelProto | None = None


@dataclass(frozen=True)
class Layer:
    """One tensor.

    Attributes:
        tensor: where it comes from.
        spec: shape, dtype, scale.
        nodes: (name, operator) of the ONNX nodes that its kernels compute, from ``tensor.reads``
            on; all but the last are fused inside and leave nothing to look at.
        shrunk: channels were removed, so that the reference is the model without them.
        reference: difference from the reference on the same inputs of the model.
        own: from the reference on the build's own tensors right before it: what is not inherited.
        host: from the same program compiled for this machine, or None.
        floating: from the float model, in real numbers, or None.
        tolerance: what passes.
    """

    tensor: KeptTensor
    spec: TensorSpec
    nodes: tuple[tuple[str, str], ...]
    shrunk: bool
    reference: Difference
    own: Difference
    host: Difference | None
    floating: Difference | None
    tolerance: Tolerance

    @property
    def limit(self) -> float:
        """The largest difference that passes, in codes or in the tensor's own units."""
        return self.reference.limit(self.tolerance)

    @property
    def passed(self) -> bool:
        """Whether it agrees with the reference, and codes with those of the host to the bit."""
        exact = self.host is None or not self.host.is_codes or self.host.largest == 0
        return self.reference.passed(self.tolerance) and exact


class LayerComparison:
    """Differences of all tensors; ``add`` each sample, then read ``layers``.

    Args:
        tensors: what the build keeps, in order of execution.
        specs: of its outputs, by name; the kept tensors are among them.
        models: see ``Models``.
        tolerance: what passes.
        host: the same build for this machine, or None.
    """

    def __init__(
        self,
        tensors: Iterable[KeptTensor],
        specs: Mapping[str, TensorSpec],
        models: Models,
        tolerance: Tolerance,
        host: Run | None = None,
    ) -> None:
        self._models = models
        self._original = rewrite_quantized_operators(models.original)
        known = tensor_names(self._original) & tensor_names(models.compiled)
        given = tuple(tensors)
        self.tensors = tuple(tensor for tensor in given if tensor.name in known)
        self.unknown = tuple(tensor.name for tensor in given if tensor.name not in known)
        self._specs = specs
        self._tolerance = tolerance
        self._host = host
        self._names = [tensor.name for tensor in self.tensors]
        self._evaluators: dict[str, Evaluate] = {}
        self._shrunk: frozenset[str] = frozenset()
        self._floating: FloatModel | None = None
        if models.floating is not None:
            self._floating = FloatModel(models.floating, self._original, self._names)
        self._reference = {name: Difference(specs[name]) for name in self._names}
        self._own = {name: Difference(specs[name]) for name in self._names}
        self._on_host: dict[str, Difference] = {}
        self._from_float: dict[str, Difference] = {}

    def add(self, sample: Sample, kept: Mapping[str, np.ndarray]) -> None:
        """One sample and what the build with its tensors kept made of it."""
        if not self._names:
            return
        feeds = {**self._models.constants, **sample}
        expected = self._expected(feeds, kept)
        own = self._from_own_inputs(feeds, kept)
        for name in self._names:
            self._reference[name].add(kept[name], expected[name])
            self._own[name].add(kept[name], own[name])
        if self._host is not None:
            here = self._host(sample)
            for name in set(here) & set(self._names):
                difference = self._on_host.setdefault(name, Difference(self._specs[name]))
                difference.add(kept[name], here[name])
        if self._floating is not None and self._models.floating is not None:
            real = real_inputs(self._models.floating, feeds, self._models.inputs)
            self._floating.add(real, kept, self._specs, self._from_float)

    @property
    def without_floats(self) -> bool:
        """Whether a float model is given, but has no tensor of the build under its name."""
        return self._floating is not None and not self._floating.counterparts

    @property
    def layers(self) -> tuple[Layer, ...]:
        """One for each tensor, in order of execution.

        Raises:
            InputDataError: no sample was added.
        """
        if any(not difference.samples for difference in self._reference.values()):
            raise InputDataError("there is no sample to validate with")
        return tuple(self._layer(tensor) for tensor in self.tensors)

    def _layer(self, tensor: KeptTensor) -> Layer:
        name = tensor.name
        return Layer(
            tensor,
            self._specs[name],
            nodes_between(self._original, name, self._names),
            name in self._shrunk,
            self._reference[name],
            self._own[name],
            self._on_host.get(name),
            self._from_float.get(name),
            self._tolerance,
        )

    def _expected(self, feeds: Sample, kept: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Of the file as it is; of the shrunk model where channels are missing in the build."""
        kind = self._models.reference
        if "original" not in self._evaluators:
            self._evaluators["original"] = evaluator(self._original, self._names, kind)
        found = self._evaluators["original"](
            real_inputs(self._original, feeds, self._models.inputs)
        )
        for name in self._names:  # an output that the build gives as codes
            spec = self._specs[name]
            if found[name].dtype.kind == "f" and kept[name].dtype.kind in "iu" and spec.scale:
                found[name] = to_codes(found[name], spec)
        shrunk = [name for name in self._names if found[name].shape != kept[name].shape]
        if shrunk:
            self._shrunk = frozenset(shrunk)
            if "shrunk" not in self._evaluators:
                self._evaluators["shrunk"] = evaluator(self._models.compiled, shrunk, kind)
            found |= self._evaluators["shrunk"](feeds)
        return found

    def _from_own_inputs(
        self, feeds: Sample, kept: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Every tensor from the build's own tensors right before it."""
        at = {name: kept[name] for name in self._names}
        if "own" not in self._evaluators:
            kind = "exact" if self._models.reference == "exact" else "ort"
            cut = cut_model(self._models.compiled, at, self._names)
            self._evaluators["own"] = evaluator(cut, self._names, kind)
        return self._evaluators["own"](feeds | {name + GIVEN: at[name] for name in at})
