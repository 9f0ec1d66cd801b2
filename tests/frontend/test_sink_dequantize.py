"""DequantizeLinear behind operators that pick elements, and where it stays."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from footprint_compiler.build import compile_in_process
from footprint_compiler.frontend import import_model
from footprint_compiler.frontend.sink_dequantize import sink_dequantize

CONSTANTS = {
    "s": np.array(0.1, "float32"), "z": np.array(-9, "int8"), "two": np.array([2, 0], "int64"),
    "ss": np.full(4, 0.1, "float32"), "zz": np.zeros(4, "int8"),
    "negative": np.array(-0.1, "float32"), "bigger": np.array([1, 1, 2, 1.5], "float32"),
    "axis": np.array([2], "int64"), "parts": np.array([1, 3], "int64"),
}  # fmt: skip


def _model(body: str, outputs: str = "y") -> onnx.ModelProto:
    given = ", ".join(f"float[] {name}" for name in outputs.split())
    text = (
        f'<ir_version: 10, opset_import: ["" : 21]> g (int8[1,4,3,4] q) => ({given}) {{ {body} }}'
    )
    model = onnx.parser.parse_model(text)
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    read = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in CONSTANTS.items() if name in read
    )
    return model


def _operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


SINKS = {
    "resize": 'y = Resize <mode = "nearest"> (x, , bigger)',
    "gather": "y = Gather <axis = 1> (x, two)",
    "depth to space": "y = DepthToSpace <blocksize = 2> (x)",
    "maximum": "y = ReduceMax (x, axis)",
    "pool": "y = MaxPool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (x)",
    "two in a row": "g = Gather <axis = 1> (x, two) y = ReduceMin (g, axis)",
}


@pytest.mark.parametrize("name", SINKS)
def test_same_numbers_from_codes(name: str) -> None:
    model = _model(f"x = DequantizeLinear(q, s, z) {SINKS[name]}")
    after = sink_dequantize(model)
    assert _operators(after)[-1] == "DequantizeLinear"
    q = np.random.default_rng(0).integers(-128, 128, (1, 4, 3, 4)).astype("int8")
    want = onnx.reference.ReferenceEvaluator(model).run(None, {"q": q})[0]
    (got,) = compile_in_process(import_model(model))({"q": q}).values()
    np.testing.assert_array_equal(got, want)


def test_every_part_of_a_split_is_dequantized() -> None:
    model = _model("x = DequantizeLinear(q, s, z) a, b = Split <axis = 1> (x, parts)", "a b")
    after = sink_dequantize(model)
    assert _operators(after)[1:] == ["Split", "DequantizeLinear", "DequantizeLinear"]
    assert [node.output[0] for node in after.graph.node[2:]] == ["a", "b"]


STAYS = {
    "one scale for each channel": "x = DequantizeLinear(q, ss, zz) y = Gather <axis = 1> (x, two)",
    "a negative scale": "x = DequantizeLinear(q, negative, z) y = ReduceMax (x, axis)",
    "interpolation": 'x = DequantizeLinear(q, s, z) y = Resize <mode = "linear"> (x, , bigger)',
    "another operator": "x = DequantizeLinear(q, s, z) y = Transpose(x)",
}


@pytest.mark.parametrize("name", STAYS)
def test_stays_before(name: str) -> None:
    model = _model(STAYS[name])
    assert _operators(sink_dequantize(model)) == _operators(model)
