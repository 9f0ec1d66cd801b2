"""Exact arithmetic against numbers computed by hand and ONNX Runtime; models cut apart."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from footprint_compiler.errors import ModelFileError, UnsupportedModelError
from footprint_compiler.validation.exact import ExactModel
from footprint_compiler.validation.nodes import nodes_between
from footprint_compiler.validation.references import GIVEN, cut_model, evaluator, tensor_names
from tests.validation.networks import float_model, quantized_model, sample


def parsed(body: str, inputs: str, **arrays: np.ndarray) -> onnx.ModelProto:
    text = f'<ir_version: 8, opset_import: ["" : 17]> g ({inputs}) => (y) {{ {body} }}'
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()
    )
    return model


def test_quantization_rounds_half_to_even_and_saturates():
    model = parsed("y = QuantizeLinear(x, s, z)", "float[8] x", s=np.float32(0.5), z=np.int8(-1))
    x = np.array([0.25, 0.75, 1.25, -0.25, -0.75, 1e9, -1e9, 0], "f4")
    y = ExactModel(model).run(["y"], {"x": x})["y"]
    assert y.dtype == np.int8
    assert y.tolist() == [-1, 1, 1, -1, -3, 127, -128, -1]


def test_scales_are_the_numbers_of_the_file():
    """0.1 as float32 is a little more than 0.1, and float64 keeps it."""
    model = parsed(
        "y = DequantizeLinear <axis = 0> (x, s, z)",
        "int8[2] x",
        s=np.array([0.1, 0.5], "f4"),
        z=np.array([1, -2], "i1"),
    )
    y = ExactModel(model).run(["y"], {"x": np.array([4, -128], "i1")})["y"]
    assert y.tolist() == [3 * float(np.float32(0.1)), -63.0]


@pytest.mark.parametrize(
    ("attributes", "shape", "weights"),
    [
        ("pads = [1,0,2,1], strides = [2,1]", (2, 3, 8, 7), (4, 3, 3, 2)),
        ("group = 3, dilations = [2,1]", (1, 3, 9, 5), (6, 1, 3, 3)),
        ('auto_pad = "SAME_UPPER", strides = [2,2]', (1, 2, 5, 6), (3, 2, 3, 3)),
        ('auto_pad = "SAME_LOWER", strides = [2,2]', (1, 2, 6, 5), (3, 2, 2, 2)),
        ("pads = [2,1], strides = [3]", (1, 4, 11), (2, 4, 4)),
    ],
)
def test_convolutions_of_integers_equal_onnxruntime(attributes, shape, weights):
    rng = np.random.default_rng(0)
    w, b = rng.integers(-9, 9, weights).astype("f4"), rng.integers(-9, 9, weights[0]).astype("f4")
    sizes = ",".join(map(str, shape))
    model = parsed(f"y = Conv <{attributes}> (x, w, b)", f"float[{sizes}] x", w=w, b=b)
    feeds = {"x": rng.integers(-9, 9, shape).astype("f4")}
    exact, ort = (evaluator(model, ["y"], kind)(feeds)["y"] for kind in ("exact", "ort"))
    assert exact.dtype == np.float64
    np.testing.assert_array_equal(exact, ort)


def test_whole_models_are_near_onnxruntime():
    for model in (float_model(), quantized_model()):
        names = sorted(tensor_names(model))
        exact, ort = (evaluator(model, names, kind)(sample()) for kind in ("exact", "ort"))
        for name in names:
            np.testing.assert_allclose(exact[name], ort[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_an_unknown_operator_is_refused():
    model = parsed("y = NoSuchOperator(x)", "float[1] x")
    with pytest.raises(UnsupportedModelError, match="no exact reference"):
        ExactModel(model)
    with pytest.raises(ModelFileError, match="cannot load the model"):
        evaluator(model, ["y"], "ort")


@pytest.mark.parametrize("kind", ["ort", "exact"])
def test_a_sample_that_does_not_fit(kind):
    with pytest.raises(ModelFileError, match="cannot run the model"):
        evaluator(quantized_model(), ["y_q"], kind)({"x": np.zeros((1, 2, 3, 3), "f4")})


@pytest.mark.parametrize("kind", ["ort", "exact"])
def test_a_cut_model_starts_from_what_is_given(kind):
    model = quantized_model()
    names = ["b_q", "c_q", "d_q"]
    right = evaluator(model, [*names, "a_q"], kind)(sample())
    at = {**right, "b_q": np.zeros_like(right["b_q"])}
    cut = evaluator(cut_model(model, at, names), names, kind)
    found = cut(sample() | {name + GIVEN: array for name, array in at.items()})
    np.testing.assert_array_equal(found["b_q"], right["b_q"])  # from a_q, which is right
    assert (found["c_q"] == 3).all()  # from zeros: the zero point
    np.testing.assert_array_equal(found["d_q"], right["d_q"])  # from a_q and the given c_q
    assert len(model.graph.input) == 1


def test_nodes_between_tensors():
    model = quantized_model()
    kept = [f"{name}_q" for name in "abcdefy"]
    assert nodes_between(model, "a_q", kept) == (("n_a0", "Conv"), ("n_a", "Relu"))
    assert nodes_between(model, "d_q", kept) == (("n_d", "Add"),)
    assert nodes_between(model, "x_q", kept) == (("n_x_q", "QuantizeLinear"),)
    assert [op for _, op in nodes_between(model, "d_q", ["b_q"])] == ["Conv", "Relu", "Conv", "Add"]


def test_shape_arithmetic_is_no_computation():
    model = parsed(
        "n = Shape(x) m = Mul(n, two) r = Expand(x, m) y = Relu(r)",
        "float[1,3] x",
        two=np.array([2, 1]),
    )
    assert [op for _, op in nodes_between(model, "y", [])] == ["Expand", "Relu"]
