"""Builds that take and give codes: same numbers as the model's own inputs and outputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from footprint_compiler.build import compile_in_process
from footprint_compiler.codes import to_codes, to_real, with_codes
from footprint_compiler.errors import InputDataError, UnsupportedModelError
from footprint_compiler.frontend import import_model
from footprint_compiler.runtime.check import check_inputs
from footprint_compiler.tensor import TensorSpec

CONSTANTS = {
    "xs": np.float32(0.05), "xz": np.uint8(120), "ys": np.float32(0.11), "yz": np.int8(-7),
    "ws": np.float32(0.02), "wz": np.int8(0), "five": np.array([2, 5]),
    "w": np.random.default_rng(0).integers(-99, 99, (5, 6)).astype("int8"),
}  # fmt: skip
MIDDLE = """a = DequantizeLinear(q, xs, xz) wf = DequantizeLinear(w, ws, wz) wt = Transpose(wf)
    m = MatMul(a, wt) p = QuantizeLinear(m, ys, yz)"""
PLAIN = f"q = QuantizeLinear(x, xs, xz) {MIDDLE} y = DequantizeLinear(p, ys, yz)"
MOVED = f"""t = Transpose <perm = [1, 0]> (x) q = QuantizeLinear(t, xs, xz) {MIDDLE}
    r = DequantizeLinear(p, ys, yz) y = Reshape(r, five)"""


def _model(body: str, x: str = "float[2,6] x", y: str = "float[2,5] y") -> onnx.ModelProto:
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g ({x}) => ({y}) {{ {body} }}'
    )
    read = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array), name)
        for name, array in CONSTANTS.items()
        if name in read
    )
    return model


@pytest.mark.parametrize(("body", "shape"), [(PLAIN, (2, 6)), (MOVED, (6, 2))])
def test_codes_are_the_quantized_inputs_and_outputs(body: str, shape: tuple[int, int]) -> None:
    model = _model(body, x=f"float[{shape[0]},{shape[1]}] x")
    real, codes = import_model(model), import_model(model, io="int8")
    (taken,), (given,) = codes.inputs, codes.outputs
    assert taken == TensorSpec("x", shape, "uint8", float(CONSTANTS["xs"]), 120)
    assert given == TensorSpec("y", (2, 5), "int8", float(CONSTANTS["ys"]), -7)
    x = np.random.default_rng(1).integers(0, 256, shape).astype("uint8")
    got = compile_in_process(codes)({"x": x})["y"]
    want = compile_in_process(real)({"x": to_real(x, taken)})["y"]
    assert len(np.unique(got)) > 5
    np.testing.assert_array_equal(to_real(got, given), want)
    np.testing.assert_array_equal(to_codes(want, given), got)


def test_the_real_output_stays_for_other_readers() -> None:
    model = _model(f"{PLAIN} z = Exp(y)", y="float[2,5] y, float[2,5] z")
    with pytest.raises(UnsupportedModelError) as caught:
        import_model(model, io="int8")
    assert [row[0] for row in caught.value.nodes] == ["z"]
    inner = _model(
        f"{PLAIN} e = Exp(y) k = QuantizeLinear(e, ys, yz) z = DequantizeLinear(k, ys, yz)",
        y="float[2,5] y, float[2,5] z",
    )
    x = np.random.default_rng(1).integers(0, 256, (2, 6)).astype("uint8")
    taken = import_model(inner, io="int8").inputs[0]
    got = compile_in_process(import_model(inner, io="int8"))({"x": x})
    want = compile_in_process(import_model(inner))({"x": to_real(x, taken)})
    given = import_model(inner, io="int8").outputs
    for spec in given:
        np.testing.assert_array_equal(to_real(got[spec.name], spec), want[spec.name])


REFUSED = {
    "read twice": (f"{PLAIN} n = Neg(x) z = QuantizeLinear(n, ys, yz)", ["x"]),
    "not quantized": ("y = Relu(x)", ["x", "y"]),
    "also an output": (f"{PLAIN} z = Identity(x)", ["x", "z"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_by_name(name: str) -> None:
    body, wanted = REFUSED[name]
    extra = ", float[2,6] z" if "z = Identity" in body else ", int8[2,6] z" if "z =" in body else ""
    y = "float[2,6] y" if body.startswith("y") else f"float[2,5] y{extra}"
    with pytest.raises(UnsupportedModelError) as caught:
        import_model(_model(body, y=y), io="int8")
    assert [row[0] for row in caught.value.nodes] == wanted


def test_integers_stay_as_they_are() -> None:
    body = f"{MIDDLE} y = Identity(p)"
    graph = import_model(_model(body, "uint8[2,6] q", "int8[2,5] y"), io="int8")
    assert [spec.dtype for spec in (*graph.inputs, *graph.outputs)] == ["uint8", "int8"]


def test_a_reference_in_float_takes_and_gives_codes(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(_model(PLAIN), path)
    graph = import_model(path, io="int8")
    seen: list[np.ndarray] = []

    def run(sample: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        seen.append(sample["x"])
        return {"y": np.array([[-100.0, 0.0, 0.06, 0.11, 100.0]], "float32")}

    wrapped = with_codes(run, path, graph.inputs, graph.outputs)
    result = wrapped({"x": np.array([[0, 120, 255]], "uint8")})["y"]
    np.testing.assert_allclose(seen[0], [[-6.0, 0.0, 6.75]], rtol=1e-6)
    np.testing.assert_array_equal(result, np.array([[-128, -7, -6, -6, 127]], "int8"))
    plain = import_model(path)
    assert with_codes(run, path, plain.inputs, plain.outputs) is run


def test_floats_for_codes_are_refused_with_the_formula() -> None:
    spec = TensorSpec("x", (2,), "int8", 0.5, 3)
    with pytest.raises(InputDataError, match="the model takes int8") as caught:
        check_inputs([spec], {"x": np.zeros(2, "float32")})
    assert caught.value.remedy is not None
    formula = caught.value.remedy.removeprefix("Quantize it: ").rstrip(".")
    array = np.array([-1.0, 100.0], "float32")
    got = eval(formula, {"np": np, "array": array})
    np.testing.assert_array_equal(got, [1, 127])
    with pytest.raises(InputDataError) as caught:
        check_inputs([replace(spec, scale=None)], {"x": np.zeros(2, "float32")})
    assert "astype" in (caught.value.remedy or "")


def test_scales_are_found_behind_operators_that_move() -> None:
    body = f"q = Transpose <perm = [1, 0]> (t) {MIDDLE} y = Flatten <axis = 0> (p)"
    graph = import_model(_model(body, "uint8[6,2] t", "int8[1,10] y"))
    assert graph.inputs == (TensorSpec("t", (6, 2), "uint8", float(CONSTANTS["xs"]), 120),)
    assert graph.outputs == (TensorSpec("y", (1, 10), "int8", float(CONSTANTS["ys"]), -7),)
