"""Preparation keeps the numbers and leaves the form that the quantizer reads."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from footprint_compiler.errors import UnsupportedModelError
from footprint_compiler.quantize.prepare import prepare
from tests.quantize.models import model, residual, run, samples, weights

NORM = {
    "g": np.abs(weights(4)) + 0.5, "b": weights(4), "m": weights(4), "v": np.abs(weights(4)) + 0.2,
}  # fmt: skip
node = helper.make_node


def prepared(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, Counter[str]]:
    changed = ir.serde.serialize_model(prepare(proto)[0])
    onnx.checker.check_model(changed, full_check=True)
    return changed, Counter(n.op_type for n in changed.graph.node)


def same_numbers(proto: onnx.ModelProto, changed: onnx.ModelProto) -> None:
    shape = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim]
    for sample in samples(shape, 3):
        expected = run(proto, sample["x"])
        np.testing.assert_allclose(run(changed, sample["x"]), expected, rtol=2e-4, atol=2e-5)


CASES = {
    "normalization": (
        [
            node("Conv", ["x", "w"], ["c"]),
            node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"]),
            node("Mul", ["n", "k"], ["t"]),
            node("Add", ["k2", "t"], ["y"]),
        ],
        {"w": weights(4, 2, 3, 3), "k": weights(1, 4, 1, 1), "k2": weights(4, 1, 1), **NORM},
        [1, 2, 6, 5],
        {"Conv": 1},
    ),
    "transposed convolution": (
        [
            node("ConvTranspose", ["x", "w", "b"], ["c"], strides=[2, 2]),
            node("BatchNormalization", ["c", "g", "b", "m", "v"], ["y"]),
        ],
        {"w": weights(2, 4, 3, 3), **NORM},
        [1, 2, 4, 3],
        {"ConvTranspose": 1},
    ),
    "gemm": (
        [
            node("Gemm", ["x", "w", "c"], ["t"], transB=1, alpha=0.5, beta=2.0),
            node("Sub", ["t", "k"], ["y"]),
        ],
        {"w": weights(4, 6), "c": weights(4), "k": weights(4)},
        [3, 6],
        {"Gemm": 1},
    ),
    "product with bias": (
        [node("MatMul", ["x", "w"], ["t"]), node("Add", ["t", "b"], ["y"])],
        {"w": weights(6, 4), "b": NORM["b"]},
        [2, 6],
        {"Gemm": 1},
    ),
    "lone normalization": (
        [
            node("BatchNormalization", ["x", "g", "b", "m", "v"], ["t"]),
            node("Relu", ["t"], ["y"]),
        ],
        NORM,
        [1, 4, 3, 5],
        {"Conv": 1, "Relu": 1},
    ),
    "used twice": (
        [
            node("Conv", ["x", "w"], ["c"]),
            node("Mul", ["c", "k"], ["t"]),
            node("Add", ["t", "c"], ["y"]),
        ],
        {"w": weights(4, 2, 1, 1), "k": weights(4, 1, 1)},
        [1, 2, 3, 3],
        {"Conv": 1, "Mul": 1, "Add": 1},
    ),
    "along the width": (
        [node("Conv", ["x", "w"], ["c"]), node("Mul", ["c", "k"], ["y"])],
        {"w": weights(4, 2, 1, 1), "k": weights(4)},
        [1, 2, 3, 4],
        {"Conv": 1, "Mul": 1},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_folding(name: str) -> None:
    nodes, constants, shape, expected = CASES[name]
    proto = model(nodes, shape, constants)
    changed, operators = prepared(proto)
    assert operators == expected
    assert changed.graph.output[0].name == "y"
    same_numbers(proto, changed)


def test_whole_network() -> None:
    proto = residual()
    changed, operators = prepared(proto)
    assert "BatchNormalization" not in operators
    same_numbers(proto, changed)


def test_old_opset_is_converted() -> None:
    proto = model([node("Relu", ["x"], ["y"])], [1, 3], {}, opset=11)
    changed, _ = prepared(proto)
    assert changed.opset_import[0].version >= 13


def test_quantized_models_are_refused() -> None:
    nodes = [node("QuantizeLinear", ["x", "s", "z"], ["y"])]
    constants = {"s": np.float32(0.1), "z": np.int8(0)}
    with pytest.raises(UnsupportedModelError, match="quantized already: it has 1 QuantizeLinear"):
        prepare(model(nodes, [1, 3], constants))


def test_an_old_file_whose_initializers_are_inputs() -> None:
    proto = model(
        [node("Conv", ["x", "w"], ["c"]), node("Relu", ["c"], ["y"])],
        [1, 2, 5, 5],
        {"w": weights(4, 2, 3, 3)},
        opset=8,
    )
    proto.ir_version = 3
    proto.graph.input.append(
        helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [4, 2, 3, 3])
    )
    changed = ir.serde.serialize_model(prepare(proto, opset=21)[0])
    assert {o.version for o in changed.opset_import if o.domain == ""} == {21}
    assert changed.ir_version >= 10
    same_numbers(proto, changed)
