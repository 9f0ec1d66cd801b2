"""Widths of tensors, 4 and 16 bits in standard ONNX, and what precision buys."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from footprint_compiler.errors import UsageError
from footprint_compiler.quantize.affine import affine, fake_quantize, quantize_weights
from footprint_compiler.quantize.precision import parse_precisions
from footprint_compiler.quantize.prepare import prepare
from footprint_compiler.quantize.workbench import Recipe, Workbench
from tests.quantize.models import model, residual, run, samples, weights

node = helper.make_node


@pytest.fixture(scope="module")
def bench() -> Workbench:
    return Workbench(prepare(residual(), opset=21)[0], samples([1, 3, 8, 8], 16))


def types(proto: onnx.ModelProto) -> dict[str, int]:
    """Tensor -> element type of the zero point that its QuantizeLinear has."""
    kinds = {t.name: t.data_type for t in proto.graph.initializer}
    return {
        n.name.removesuffix("_quantize"): kinds[n.input[2]]
        for n in proto.graph.node
        if n.op_type == "QuantizeLinear"
    }


def test_sixteen_bits_are_symmetric_and_fine() -> None:
    parameters = affine(-1.0, 3.0, 16)
    assert parameters.zero_point == 0
    assert parameters.scale == pytest.approx(3 / 32767)
    x = np.linspace(-3, 3, 1001, dtype=np.float32)
    assert np.abs(fake_quantize(x, parameters) - x).max() <= parameters.scale * 0.501


def test_four_bits_stay_in_range_and_beat_the_full_scale() -> None:
    kernel = np.random.default_rng(3).normal(size=(6, 200)).astype(np.float32)
    made = quantize_weights(kernel, None, 1.0, 0, bits=4)
    assert np.abs(made.codes).max() == 7
    full = np.abs(kernel).max(axis=1) / 7
    assert np.all(made.scale < full)
    errors = [
        ((np.clip(np.rint(kernel / s[:, None]), -7, 7) * s[:, None] - kernel) ** 2).sum()
        for s in (made.scale, full)
    ]
    assert errors[0] < 0.8 * errors[1]


@pytest.mark.parametrize(
    ("precision", "activation", "weight", "least_db"),
    [
        ("int4w8a", TensorProto.INT8, TensorProto.INT4, 8),
        ("int8", TensorProto.INT8, TensorProto.INT8, 30),
        ("int16a", TensorProto.INT16, TensorProto.INT8, 31),
    ],
)
def test_a_precision_in_standard_onnx(
    bench: Workbench, precision: str, activation: int, weight: int, least_db: float
) -> None:
    proto = bench.assemble(Recipe(precision=precision))
    onnx.checker.check_model(proto, full_check=True)
    assert {o.version for o in proto.opset_import if o.domain == ""} == {21}
    assert proto.ir_version >= 10
    assert set(types(proto).values()) == {activation}
    kinds = [t.data_type for t in proto.graph.initializer if "_weights_codes" in t.name]
    assert kinds == [weight] * 4
    assert bench.sqnr(proto) > least_db


def test_sixteen_bits_up_to_the_end() -> None:
    """Also what no further layer reads, behind a function of single elements."""
    nodes = [
        node("Conv", ["x", "w"], ["a"]),
        node("Sigmoid", ["a"], ["b"]),
        node("ReduceMean", ["b"], ["y"], axes=[2, 3]),
    ]
    proto = model(nodes, [1, 3, 6, 6], {"w": weights(4, 3, 3, 3)})
    small = Workbench(prepare(proto, opset=21)[0], samples([1, 3, 6, 6], 8))
    for precision, kind in (("int8", TensorProto.INT8), ("int16a", TensorProto.INT16)):
        assert types(small.assemble(Recipe(precision=precision))) == dict.fromkeys("xab", kind)


def test_one_layer_in_sixteen_bits_widens_what_it_reads() -> None:
    nodes = [
        node("Conv", ["x", "w1"], ["a"]),
        node("Conv", ["a", "w2"], ["b"]),
        node("Conv", ["b", "w2"], ["c"]),
        node("Add", ["b", "c"], ["d"]),
        node("Conv", ["d", "w2"], ["y"]),
    ]
    constants = {"w1": weights(4, 2, 1, 1), "w2": weights(4, 4, 1, 1)}
    prepared = prepare(model(nodes, [1, 2, 5, 5], constants, opset=21))[0]
    bench = Workbench(prepared, samples([1, 2, 5, 5], 8))
    first, second, third, last = bench.full.linear
    scheme = bench.full

    def spread(**layers: str) -> tuple[set[str], dict[str, str]]:
        found = bench.widths(scheme, Recipe(layers=layers))
        return {n for n, bits in found.bits.items() if bits == 16}, dict(found.layers)

    wide, layers = spread(**{second: "int16a"})
    assert wide == {"a"}
    assert layers == {first: "int8", second: "int16a", third: "int8", last: "int8"}
    wide, layers = spread(**{last: "int16a"})  # d = b + c: the sum has one width
    assert wide == {"b", "c", "d", "y"}
    assert layers == {first: "int8", second: "int8", third: "int16a", last: "int16a"}
    wide, layers = spread(**{first: "int4w8a", second: "int16a", third: "int4w8a"})
    assert layers[first] == layers[third] == "int4w8a"
    mixed = bench.assemble(Recipe(layers={first: "int4w8a", second: "int16a"}))
    assert types(mixed)["a"] == TensorProto.INT16
    assert types(mixed)["x"] == types(mixed)["b"] == TensorProto.INT8
    x = samples([1, 2, 5, 5], 1)[0]["x"]
    assert np.abs(run(mixed, x) - run(bench.proto, x)).max() < 0.5


def test_names_of_precisions() -> None:
    assert parse_precisions("float, int8,int4w8a") == ("int4w8a", "int8", "float")
    with pytest.raises(UsageError, match="unknown precision 'int2'"):
        parse_precisions("int8,int2")
