"""A quantized model's tensors against those of the float model that it was made from.

Quantizers keep the names of float tensors: the input of a QuantizeLinear, or the output of its
DequantizeLinear, is named as in the float model. A tensor is compared where that name and its shape
are found. Equalization scales channels of inner tensors against each other; there the comparison
says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx

from footprint_compiler.samples import Sample
from footprint_compiler.tensor import TensorSpec
from footprint_compiler.validation.difference import Difference
from footprint_compiler.validation.references import evaluator, tensor_names


class FloatModel:
    """The float model in ONNX Runtime, and which of its tensors stands for which.

    Args:
        model: before quantization.
        quantized: the QDQ model.
        names: tensors of the quantized model.
    """

    def __init__(
        self, model: onnx.ModelProto, quantized: onnx.ModelProto, names: Sequence[str]
    ) -> None:
        self.counterparts = _counterparts(model, quantized, names)
        wanted = list(dict.fromkeys(self.counterparts.values()))
        self._evaluate = evaluator(model, wanted, "ort") if wanted else None

    def add(
        self,
        feeds: Sample,
        kept: Mapping[str, np.ndarray],
        specs: Mapping[str, TensorSpec],
        differences: dict[str, Difference],
    ) -> None:
        """Add one sample to ``differences``, which are in real numbers."""
        if self._evaluate is None:
            return
        found = self._evaluate(feeds)
        for name, counterpart in self.counterparts.items():
            spec, expected = specs[name], found[counterpart]
            if kept[name].shape != expected.shape:
                continue
            got = kept[name].astype(np.float64)
            if spec.scale is not None and "float" not in spec.dtype:
                got = (got - (spec.zero_point or 0)) * spec.scale
            elif "float" not in spec.dtype and expected.dtype.kind == "f":
                continue  # codes whose scale is not known
            real = replace(spec, dtype="float64", scale=None, zero_point=None)
            differences.setdefault(name, Difference(real)).add(got, expected)


def _counterparts(
    model: onnx.ModelProto, quantized: onnx.ModelProto, names: Sequence[str]
) -> dict[str, str]:
    known = tensor_names(model)
    writers = {output: node for node in quantized.graph.node for output in node.output}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in quantized.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = {}
    for name in names:
        candidates = [name]
        at = writers.get(name)
        while at is not None and at.op_type in ("QuantizeLinear", "DequantizeLinear"):
            candidates.append(at.input[0])
            at = writers.get(at.input[0])
        candidates += [
            reader.output[0]
            for reader in readers.get(name, [])
            if reader.op_type == "DequantizeLinear"
        ]
        match = next((candidate for candidate in candidates if candidate in known), None)
        if match is not None:
            found[name] = match
    return found
