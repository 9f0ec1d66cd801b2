"""Static shapes and constants for the inputs of a model."""

from __future__ import annotations

import numpy as np
import pytest

from footprint_compiler.errors import DynamicShapeError, UnsupportedModelError, UsageError
from footprint_compiler.frontend import import_model

from .harness import calls, model, run

DYNAMIC = "g (float[batch,3] x) => (float[batch,3] y) { y = Relu(x) }"
BRANCH = """g (float[2] x, int64 sr) => (float[2] y) {
    k = Constant <value: tensor = int64 {16000}> ()
    c = Equal(sr, k)
    y = If (c) <
        then_branch = t () => (float[2] a) { a = Relu(x) },
        else_branch = e () => (float[2] b) { b = NonZero(x) }
    >
}"""


def test_symbolic_batch_needs_a_binding() -> None:
    with pytest.raises(DynamicShapeError, match="x") as caught:
        import_model(model(DYNAMIC))
    assert "--shape x=" in caught.value.remedy
    graph = import_model(model(DYNAMIC), {"x": (4, 3)})
    assert graph.inputs[0].shape == graph.outputs[0].shape == (4, 3)


@pytest.mark.parametrize("shape", [(4,), (4, 4), (4, 3, 1), (-1, 3)])
def test_shape_that_contradicts_the_model(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="does not fit"):
        import_model(model(DYNAMIC), {"x": shape})


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        import_model(model(DYNAMIC), {"z": (4, 3)})
    assert "x" in caught.value.remedy
    with pytest.raises(UsageError):
        import_model(model(DYNAMIC), {}, {"z": 1})


def test_constant_removes_the_branch_and_the_input() -> None:
    graph = import_model(model(BRANCH), {}, {"sr": "16000"})
    assert [s.name for s in graph.inputs] == ["x"]
    assert calls(graph) == ["relax.nn.relu"]


def test_branch_not_taken_is_the_one_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="NonZero"):
        import_model(model(BRANCH), {}, {"sr": 8000})


def test_branch_decided_at_run_time_is_refused() -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        import_model(model(BRANCH))
    _, operator, _, remedy = caught.value.nodes[0]
    assert operator == "If"
    assert "--constant" in remedy


@pytest.mark.parametrize("value", ["2,3", [2, 3], np.array([2, 3])])
def test_constant_that_sets_a_shape(value: object) -> None:
    text = "g (float[6] x, int64[2] s) => (float[n,m] y) { y = Reshape(x, s) }"
    graph = import_model(model(text), {}, {"s": value})
    assert graph.outputs[0].shape == (2, 3)


@pytest.mark.parametrize("value", ["many", "1,2,3", "1.5"])
def test_constant_that_does_not_fit(value: str) -> None:
    text = "g (float[6] x, int64[2] s) => (float[n,m] y) { y = Reshape(x, s) }"
    with pytest.raises(UsageError, match="s"):
        import_model(model(text), {}, {"s": value})


def test_shape_arithmetic_folds() -> None:
    text = """g (float[b,3,h,w] x) => (float[b,c,n] y) {
        s = Shape(x)
        i = Constant <value: tensor = int64[2] {0, 1}> ()
        head = Gather(s, i)
        minus = Constant <value: tensor = int64[1] {-1}> ()
        shape = Concat <axis = 0> (head, minus)
        y = Reshape(x, shape)
    }"""
    graph = import_model(model(text), {"x": (2, 3, 4, 5)})
    assert calls(graph) == ["relax.reshape"]
    x = np.arange(120, dtype="float32").reshape(2, 3, 4, 5)
    np.testing.assert_array_equal(run(graph, {"x": x})["y"], x.reshape(2, 3, 20))


def test_element_types_that_devices_have_not() -> None:
    with pytest.raises(UnsupportedModelError, match="STRING"):
        import_model(model("g (string[2] x) => (string[2] y) { y = Identity(x) }"))
    with pytest.raises(UnsupportedModelError, match="BFLOAT16"):
        import_model(model("g (bfloat16[2] x) => (bfloat16[2] y) { y = Relu(x) }"))
