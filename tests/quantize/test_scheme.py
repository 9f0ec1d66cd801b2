"""Which tensors carry QDQ, which share a scale, and what stays in float."""

from __future__ import annotations

import onnx
from onnx import helper

from footprint_compiler.quantize.prepare import prepare
from footprint_compiler.quantize.scheme import Scheme, decide
from tests.quantize.models import model, residual, weights

node = helper.make_node


def scheme_of(proto: onnx.ModelProto, **options: object) -> Scheme:
    return decide(prepare(proto)[0].graph, **options)  # type: ignore[arg-type]


def test_residual_network() -> None:
    scheme = scheme_of(residual())
    assert len(scheme.linear) == 4
    assert [row[1] for row in scheme.floats] == ["Softmax"]
    for inner in ("c1", "n1", "c2", "a"):  # before their clamps
        assert inner not in scheme.tensors
    for kept in ("x", "r1", "r2", "c3", "r3", "p1", "p2", "k", "h", "q", "f", "s"):
        assert kept in scheme.tensors
    groups = scheme.tensors
    assert groups["p1"] == groups["p2"] == groups["k"] == groups["r3"]
    assert groups["q"] == groups["f"]
    assert len({groups[name] for name in ("x", "r1", "r2", "c3", "k", "h", "q", "s")}) == 8


def test_a_layer_in_float_keeps_its_neighbours_quantized() -> None:
    full = scheme_of(residual())
    depthwise = full.linear[1]
    scheme = scheme_of(residual(), floats={depthwise})
    assert depthwise not in scheme.integer
    assert {"r1", "r2"} <= set(scheme.tensors)
    assert (depthwise, "Conv", "asked to stay in float") in scheme.floats


def test_only_one_layer() -> None:
    second = scheme_of(residual()).linear[1]
    scheme = scheme_of(residual(), only={second})
    assert scheme.linear == (second,)
    assert set(scheme.tensors) == {"r1", "r2"}


def test_composed_functions_are_one_table() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Sigmoid", ["c"], ["s"]),
        node("Mul", ["c", "s"], ["m"]),
        node("Conv", ["m", "w"], ["y"]),
    ]
    scheme = scheme_of(model(nodes, [1, 2, 4, 4], {"w": weights(2, 2, 1, 1)}))
    assert set(scheme.tensors) == {"x", "c", "m", "y"}
    assert scheme.roots == {"s": "c", "m": "c"}


def test_float_neighbours_are_not_quantized_for_moves() -> None:
    nodes = [
        node("Softmax", ["x"], ["a"]),
        node("Transpose", ["a"], ["b"], perm=[1, 0]),
        node("Softmax", ["b"], ["c"]),
        node("MatMul", ["c", "w"], ["y"]),
    ]
    scheme = scheme_of(model(nodes, [4, 4], {"w": weights(4, 2)}))
    assert set(scheme.tensors) == {"c", "y"}
    assert [row[1] for row in scheme.floats] == ["Softmax", "Transpose", "Softmax"]


def test_a_padded_average_and_a_product_of_activations_stay_in_float() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("AveragePool", ["c"], ["p"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("MatMul", ["p", "p"], ["y"]),
    ]
    scheme = scheme_of(model(nodes, [1, 2, 4, 4], {"w": weights(2, 2, 1, 1)}))
    assert set(scheme.tensors) == {"x", "c"}
    assert scheme.floats[1][2] == "its second operand is computed at run time"
