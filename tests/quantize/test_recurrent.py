"""Recurrent layers written out: the numbers of the operator, integer kernels, fitting scales."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

import footprint_compiler as fpc
from footprint_compiler.calibration.statistics import Runner
from footprint_compiler.quantize.fills import without_fills
from footprint_compiler.quantize.hidden import cut_saturation
from footprint_compiler.quantize.prepare import prepare
from footprint_compiler.quantize.quantizer import QuantizeOptions, quantize
from footprint_compiler.quantize.recurrent import MAX_STEPS, RECURRENT
from footprint_compiler.quantize.scheme import decide
from footprint_compiler.samples import Sample
from tests.quantize.models import model, run

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
INPUTS, HIDDEN, BATCH = 3, 4, 2


def layer(
    operator: str,
    direction: str = "forward",
    steps: int = 2,
    size: tuple[int, int, int] = (BATCH, INPUTS, HIDDEN),
    states: bool = True,
    bias: bool = True,
    **attributes: object,
) -> onnx.ModelProto:
    """One node; its states are inputs of the model. ``size`` is batch, inputs, hidden."""
    rng = np.random.default_rng(3)
    batch, inputs, hidden = size
    directions, rows = 1 + (direction == "bidirectional"), GATES[operator] * hidden
    shapes = {"w": (rows, inputs), "r": (rows, hidden), **({"b": (2 * rows,)} if bias else {})}
    constants = {
        name: (rng.normal(size=(directions, *shape)) * 0.5).astype(np.float32)
        for name, shape in shapes.items()
    }
    given = {"x": [steps, batch, inputs]}
    names = ["x", "w", "r", "b" if bias else "", ""]
    results = ["y", "y_h"] + ["y_c"] * (operator == "LSTM")
    if states:
        starts = ["h", "c"][: len(results) - 1]
        given |= {name: [directions, batch, hidden] for name in starts}
        names += starts
    attributes |= {"hidden_size": hidden, "direction": direction}
    graph = helper.make_graph(
        [helper.make_node(operator, names, results, name="cell", **attributes)],
        "recurrent",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in given.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in results],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


def feeds(proto: onnx.ModelProto, count: int) -> list[Sample]:
    rng = np.random.default_rng(7)
    shapes = {
        i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in proto.graph.input
    }
    return [
        {name: rng.uniform(-1, 1, size=shape).astype(np.float32) for name, shape in shapes.items()}
        for _ in range(count)
    ]


CASES = [
    *((operator, way, {}) for operator in GATES for way in ("forward", "reverse", "bidirectional")),
    *((operator, "bidirectional", {"states": False, "bias": False}) for operator in GATES),
    *((operator, "forward", {"steps": 1}) for operator in GATES),
    ("GRU", "bidirectional", {"linear_before_reset": 1}),
    ("GRU", "reverse", {"linear_before_reset": 1, "states": False}),
    ("LSTM", "forward", {"activations": ["Sigmoid", "Tanh", "Tanh"]}),
]


@pytest.mark.parametrize(("operator", "direction", "options"), CASES)
def test_the_steps_compute_what_the_operator_does(
    operator: str, direction: str, options: dict[str, Any]
) -> None:
    proto = layer(operator, direction, **options)
    changed = ir.serde.serialize_model(prepare(proto)[0])
    onnx.checker.check_model(changed, full_check=True)
    assert not RECURRENT & {node.op_type for node in changed.graph.node}
    names = [output.name for output in proto.graph.output]
    assert names == [output.name for output in changed.graph.output]
    sample = feeds(proto, 1)[0]
    expected, got = Runner(proto, names).run(sample), Runner(changed, names).run(sample)
    for name in names:
        assert got[name].shape == expected[name].shape
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("operator", "options", "reason"),
    [
        ("LSTM", {"clip": 0.5}, "it clips its gates"),
        ("LSTM", {"input_forget": 1}, "its gates are coupled or have peepholes"),
        ("GRU", {"activations": ["Sigmoid", "Relu"]}, "its activations are not the usual ones"),
        ("RNN", {"steps": MAX_STEPS + 1}, "5 steps are more than the 4 written out"),
        ("GRU", {"steps": 3, "direction": "bidirectional"}, "6 steps are more than"),
    ],
)
def test_what_stays_one_operator_is_reported(
    operator: str, options: dict[str, Any], reason: str
) -> None:
    prepared, _ = prepare(layer(operator, **options))
    assert [node.op_type for node in prepared.graph] == [operator]
    ((name, kind, why),) = decide(prepared.graph).floats
    assert (name, kind) == ("cell", operator)
    assert why.startswith(reason)


@pytest.mark.parametrize(("operator", "steps"), [("LSTM", 1), ("GRU", 3)])
def test_products_are_integer_in_the_artifact(operator: str, steps: int, tmp_path: Path) -> None:
    options = {"linear_before_reset": 1} if operator == "GRU" else {}
    proto = layer(operator, steps=steps, size=(1, 12, 16), **options)
    samples = feeds(proto, 24)
    learn = steps > 1
    made = quantize(prepare(proto)[0], samples, QuantizeOptions("min-max", adaround=learn))
    assert made.sqnr_db > 25
    onnx.save(made.model, tmp_path / "cell.onnx")
    artifact = fpc.build(tmp_path / "cell.onnx", out=tmp_path / "built")
    rows = GATES[operator] * 16
    assert artifact.manifest["macs"] == artifact.manifest["integer_macs"]
    assert artifact.manifest["integer_macs"] == steps * rows * (12 + 16)
    loaded = fpc.load(artifact)
    names = [output.name for output in made.model.graph.output]
    writers = {name: node for node in made.model.graph.node for name in node.output}
    constants = {t.name: numpy_helper.to_array(t) for t in made.model.graph.initializer}
    kernels = [a for a in constants.values() if a.dtype == np.int8 and a.ndim == 2]
    assert len({a.tobytes() for a in kernels}) == 4  # steps share them, even if they were learned
    runner = Runner(made.model, names)
    for sample in samples[:4]:
        expected, got = runner.run(sample), loaded.run(sample)
        for name in names:
            step = float(constants[writers[name].input[1]])
            np.testing.assert_allclose(got[name], expected[name], rtol=0, atol=1.001 * step)


def test_what_saturates_needs_no_codes() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"]),
        helper.make_node("Gemm", ["x", "v"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["s"]),
        helper.make_node("Split", ["s"], ["p", "q"], axis=1),
        helper.make_node("Sigmoid", ["p"], ["i"]),
        helper.make_node("Tanh", ["q"], ["g"]),
        helper.make_node("Mul", ["i", "g"], ["y"]),
    ]
    square = np.eye(4, dtype=np.float32)
    graph = prepare(model(nodes, [1, 4], {"w": square, "v": 2 * square}))[0].graph
    seen = {"a": (-50.0, 5.0), "b": (-1.0, 30.0), "s": (-51.0, 35.0), "x": (-50.0, 5.0)}
    expected = {"a": (-38.0, 5.0), "b": (-1.0, 30.0), "s": (-8.0, 8.0), "x": (-50.0, 5.0)}
    assert cut_saturation(graph, seen) == expected
    lost = seen | {"a": (7.0, 9.0), "b": (8.0, 9.0), "s": (15.0, 18.0)}  # nothing but saturation
    found = cut_saturation(graph, lost)
    assert (found["a"], found["b"], found["s"]) == ((7.0, 9.0), (8.0, 9.0), (8.0, 8.0))


def test_parts_of_one_state_get_their_own_scales() -> None:
    bounds = {"zero": 0, "half": 4, "end": 8, "one": 1}
    ends = {name: np.array([value]) for name, value in bounds.items()}
    nodes = [
        helper.make_node("Slice", ["x", "zero", "half", "one"], ["small"], name="first"),
        helper.make_node("Slice", ["x", "half", "end", "one"], ["large"], name="second"),
        helper.make_node("Gemm", ["small", "w"], ["y"], name="weak"),
        helper.make_node("Gemm", ["large", "w"], ["z"], name="strong"),
    ]
    proto = model(nodes, [1, 8], {"w": np.eye(4, dtype=np.float32)} | ends, ("y", "z"))
    rows = np.random.default_rng(2).normal(size=(16, 1, 8)).astype(np.float32)
    samples = [{"x": row * np.repeat(np.float32([0.01, 50]), 4)} for row in rows]
    made = quantize(prepare(proto)[0], samples, QuantizeOptions("min-max", adaround=False))
    apart = {name: reason for name, _, reason in made.floats}
    assert apart == dict.fromkeys(
        ("first", "second"), "8 bits of one scale are not enough for all of its parts"
    )
    assert set(made.integer_layers) == {"weak", "strong"}
    assert made.sqnr_db > 30


def test_small_fills_become_constants() -> None:
    value = helper.make_tensor("v", TensorProto.FLOAT, [1], [2.0])
    nodes = [
        helper.make_node("ConstantOfShape", ["k"], ["f"], value=value),
        helper.make_node("ConstantOfShape", ["large"], ["z"]),
        helper.make_node("Add", ["x", "f"], ["t"]),
        helper.make_node("Add", ["t", "z"], ["y"]),
    ]
    proto = model(nodes, [1, 3], {"k": np.array([1, 3]), "large": np.array([200, 3])})
    changed = without_fills(proto)
    assert [n.op_type for n in changed.graph.node] == ["ConstantOfShape", "Add", "Add"]
    x = np.ones((1, 3), np.float32)
    np.testing.assert_array_equal(run(changed, x), run(proto, x))
