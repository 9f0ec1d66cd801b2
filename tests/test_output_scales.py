"""Steps of quantized outputs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from footprint_compiler.errors import ModelFileError
from footprint_compiler.output_scales import output_scales


def test_outputs_of_q_and_dq_are_found_behind_views(tmp_path):
    q = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"])
    nodes = [
        q,
        helper.make_node("DequantizeLinear", ["q", "t", "z"], ["d"]),
        helper.make_node("Transpose", ["d"], ["moved"]),
        helper.make_node("Relu", ["d"], ["plain"]),
        helper.make_node("DequantizeLinear", ["q", "c", "zc"], ["channels"], axis=1),
    ]
    weights = [
        numpy_helper.from_array(np.float32(0.5), "s"),
        numpy_helper.from_array(np.float32(0.25), "t"),
        numpy_helper.from_array(np.int8(3), "z"),
        numpy_helper.from_array(np.ones(4, "f4"), "c"),
        numpy_helper.from_array(np.zeros(4, "i1"), "zc"),
    ]
    float32, int8 = TensorProto.FLOAT, TensorProto.INT8
    info = helper.make_tensor_value_info
    outputs = [
        info("q", int8, [1, 4]),
        *(info(name, float32, None) for name in ("d", "moved", "plain", "channels")),
    ]
    graph = helper.make_graph(nodes, "g", [info("x", float32, [1, 4])], outputs, weights)
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    assert output_scales(tmp_path / "m.onnx") == {"q": 0.5, "d": 0.25, "moved": 0.25}


def test_a_float_model_has_none(digits):
    assert output_scales(digits) == {}


def test_a_file_that_is_no_model(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"\x00nonsense")
    with pytest.raises(ModelFileError, match="is not an ONNX model"):
        output_scales(tmp_path / "m.onnx")
