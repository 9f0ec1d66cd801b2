"""The node tests that the ``onnx`` package carries, and which inputs a static compiler binds."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

# Inputs that determine shapes, axes, counts or modes: operator -> input numbers.
STATIC_INPUTS: dict[str, tuple[int, ...]] = {
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "Compress": (1,),
    "ConstantOfShape": (0,),
    "CumProd": (1,),
    "CumSum": (1,),
    "DFT": (1, 2),
    "Dropout": (1, 2),
    "Expand": (1,),
    "GRU": (4,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "If": (0,),
    "LSTM": (4,),
    "Loop": (0, 1),
    "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "OneHot": (1,),
    "Pad": (1, 2, 3),
    "RNN": (4,),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "STFT": (1, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Trilu": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
    **dict.fromkeys(
        (
            "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
            "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
        ),
        (1,),
    ),
}  # fmt: skip
MAX_STATIC_ELEMENTS = 64

# Cases whose expected output was not computed with the roundings of the graph: name -> the absolute
# tolerance used instead of the test's own.
# - The inverse DFT has an imaginary part of exactly 0; the expected one has up to 1.5e-6, from
#   numpy.fft in float32.
# - The expanded float16 attention rounds after every node; the expected output comes from float64
#   intermediates, so it is one or two units in the last place of float16 away.
ABSOLUTE_TOLERANCE = {
    "dft_inverse": 1e-5,
    "dft_inverse_opset19": 1e-5,
    "attention_4d_causal_fp16_expanded": 1e-3,
    "attention_4d_fp16_expanded": 1e-3,
    "attention_4d_gqa_causal_nonpad_decode_fp16_expanded": 1e-3,
    "attention_4d_gqa_with_past_and_present_fp16_expanded": 1e-3,
}


@dataclass(frozen=True)
class Case:
    """One node test.

    Attributes:
        name: as in the onnx package, without ``test_``.
        model: the model.
        data: pairs (inputs, expected outputs), in the order of the graph.
        rtol, atol: the test's own tolerances.
    """

    name: str
    model: onnx.ModelProto
    data: list[tuple[list[Any], list[Any]]]
    rtol: float
    atol: float

    @property
    def operator(self) -> str:
        """The operator under test: the first node, for functions expanded by onnx the function."""
        node = self.model.graph.node[0]
        for part in self.name.split("_"):
            if part == "expanded":
                return "expanded function"
        return f"{node.domain}::{node.op_type}" if node.domain else str(node.op_type)


def load_cases() -> list[Case]:
    """All node tests, in the order of their names."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = load_model_tests(kind="node")
    cases = []
    for test in found:
        if test.model is not None and test.data_sets is not None:
            name = test.name.removeprefix("test_")
            data = [(_arrays(given), _arrays(expected)) for given, expected in test.data_sets]
            atol = ABSOLUTE_TOLERANCE.get(name, test.atol)
            cases.append(Case(name, test.model, data, test.rtol, atol))
    return sorted(cases, key=lambda c: c.name)


def _arrays(values: Iterable[Any]) -> list[Any]:
    return [onnx.numpy_helper.to_array(v) if isinstance(v, onnx.TensorProto) else v for v in values]


def static_inputs(graph: onnx.GraphProto) -> set[str]:
    """Names of graph inputs that reach a port of ``STATIC_INPUTS``, except through a shape."""
    producers = {output: node for node in graph.node for output in node.output if output}
    queue = [
        name
        for node in graph.node
        for index, name in enumerate(node.input)
        if name and index in STATIC_INPUTS.get(node.op_type, ())
    ]
    found = set()
    while queue:
        name = queue.pop()
        if name in found:
            continue
        found.add(name)
        node = producers.get(name)
        if node is not None and node.op_type not in ("Shape", "Size"):
            queue.extend(i for i in node.input if i)
    return found & {i.name for i in graph.input}


def bindings(case: Case, inputs: list[Any]) -> dict[str, np.ndarray]:
    """Values of the inputs that are made constants."""
    wanted = static_inputs(case.model.graph)
    return {
        info.name: np.asarray(value)
        for info, value in zip(case.model.graph.input, inputs, strict=False)
        if info.name in wanted
        and isinstance(value, (np.ndarray, np.generic))
        and np.size(value) <= MAX_STATIC_ELEMENTS
    }
