"""Everything that cannot be compiled is listed at once, by name."""

from __future__ import annotations

import pytest

from footprint_compiler.errors import UnsupportedModelError
from footprint_compiler.frontend import import_model, supported_ops

from .harness import model


def test_all_nodes_are_listed_also_behind_a_refused_one() -> None:
    text = """g (float[2,3] x) => (int64[n,m] y, float[k] z) {
        [first] a = Frobnicate(x)
        [second] b = Relu(a)
        [third] y = NonZero(b)
        [fourth] c = Tanh(x)
        [fifth] z = Unique(c)
    }"""
    with pytest.raises(UnsupportedModelError) as caught:
        import_model(model(text))
    assert [(row[0], row[1]) for row in caught.value.nodes] == [
        ("first", "Frobnicate"),
        ("third", "NonZero"),
        ("fifth", "Unique"),
    ]
    assert all(reason and remedy for _, _, reason, remedy in caught.value.nodes)
    assert caught.value.message.startswith("3 nodes cannot be compiled")


def test_tree_ensemble_is_refused_by_name() -> None:
    text = """g (float[1,4] x) => (float[1,1] y) {
        y = ai.onnx.ml.TreeEnsembleRegressor(x)
    }"""
    with pytest.raises(UnsupportedModelError, match="TreeEnsembleRegressor"):
        import_model(model(text, ai_onnx_ml=3))


def test_shapes_that_contradict_an_operator_are_a_refusal_not_a_traceback() -> None:
    text = "g (float[2,3] x, float[4,5] z) => (float[n,m] y) { y = MatMul(x, z) }"
    with pytest.raises(UnsupportedModelError) as caught:
        import_model(model(text))
    assert caught.value.nodes[0][1] == "MatMul"


def test_index_out_of_range_is_refused() -> None:
    text = """g (float[2,3] x) => (float[2,n] y) {
        i = Constant <value: tensor = int64[1] {7}> ()
        y = Gather <axis = 1> (x, i)
    }"""
    with pytest.raises(UnsupportedModelError, match="Gather"):
        import_model(model(text))


def test_supported_ops_names_kernels_rewrites_and_functions() -> None:
    table = supported_ops()
    assert table["Conv"] == "kernel"
    assert table["QLinearConv"] == "rewritten as QDQ"
    assert table["com.microsoft::QLinearAdd"] == "rewritten as QDQ"
    assert table["Celu"] == "expanded into other operators"
    assert "TreeEnsemble" not in table
    assert "Loop" not in table
    assert list(table) == sorted(table)
