"""Integer products keep 8-bit weights, with zero points from build time or run time."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from tvm import relax

from footprint_compiler.build import compile_in_process
from footprint_compiler.frontend import import_model
from footprint_compiler.passes.base import PassContext, run_passes
from footprint_compiler.passes.pipeline import layout_phase
from tests.passes.evaluate import count

RNG = np.random.default_rng(0)
CONSTANTS: dict[str, np.ndarray] = {
    "w": RNG.integers(-128, 128, (9, 7)).astype("int8"),
    "u": RNG.integers(0, 256, (9, 7)).astype("uint8"),
    "k": RNG.integers(-128, 128, (5, 3, 3, 3)).astype("int8"),
    "z": np.array(17, "uint8"),
    "zu": np.array(140, "uint8"),
    "zs": RNG.integers(0, 256, 7).astype("uint8"),
    "s": np.array(0.013, "float32"),
}
MATMULS = {
    "plain": ("uint8[4,9] x", "y = MatMulInteger(x, w)"),
    "zero point": ("uint8[2,4,9] x", "y = MatMulInteger(x, w, z)"),
    "zero point at run time": ("uint8[4,9] x, uint8 r", "y = MatMulInteger(x, w, r)"),
    "both zero points": ("uint8[4,9] x, uint8 r", "y = MatMulInteger(x, u, r, zu)"),
    "zero points of columns": ("int8[4,9] x", "n = Identity(x) y = MatMulInteger(n, u, , zs)"),
    "conv": ("uint8[1,3,8,6] x", "y = ConvInteger <pads = [1,1,1,1]> (x, k, z)"),
    "conv at run time": (
        "uint8[1,3,8,6] x, uint8 r",
        "y = ConvInteger <pads = [1,0,1,1], strides = [2,1]> (x, k, r)",
    ),
    "dynamic": (
        "float[4,9] x",
        """q, t, r = DynamicQuantizeLinear(x) i = MatMulInteger(q, w, r)
        f = Cast <to = 1> (i) c = Mul(t, s) y = Mul(f, c)""",
    ),
}


def _model(given: str, body: str) -> onnx.ModelProto:
    kind = "float" if "Dynamic" in body else "int32"
    text = f'<ir_version: 8, opset_import: ["" : 17]> g ({given}) => ({kind} y) {{ {body} }}'
    model = onnx.parser.parse_model(text.replace(f"({kind} y)", f"({kind}[] y)"))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    read = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in CONSTANTS.items() if name in read
    )
    return model


def _constant_bytes(module: Any) -> int:
    found = 0

    def visit(expr: Any) -> None:
        nonlocal found
        value = getattr(expr, "value", None)
        found += value.numpy().nbytes if hasattr(value, "numpy") else 0

    relax.analysis.post_order_visit(module["main"], visit)
    return found


@pytest.mark.parametrize("name", MATMULS)
def test_same_integers_as_onnxruntime(name: str) -> None:
    model = _model(*MATMULS[name])
    graph = import_model(model)
    rng = np.random.default_rng(3)
    inputs = {}
    for spec in graph.inputs:
        if spec.dtype == "float32":
            inputs[spec.name] = rng.normal(size=spec.shape).astype("float32")
        else:
            limits = np.iinfo(spec.dtype)
            codes = rng.integers(limits.min, limits.max + 1, spec.shape)
            inputs[spec.name] = np.asarray(codes, spec.dtype)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (want,) = session.run(None, inputs)
    got = compile_in_process(graph)(inputs)["y"]
    if want.dtype == np.float32:
        np.testing.assert_allclose(got, want, rtol=1e-6)
    else:
        np.testing.assert_array_equal(got, want)
    lowered = run_passes(graph.module, layout_phase(), PassContext(None))
    assert count(lowered, "matmul") + count(lowered, "nn.conv2d") == 0
    nine = "u," in MATMULS[name][1]
    elements = CONSTANTS["k"].size if "conv" in name else CONSTANTS["w"].size
    assert _constant_bytes(lowered) < elements * (2 if nine else 1) + 40


def test_weights_at_run_time_stay_as_they_are() -> None:
    model = _model("uint8[4,9] x, int8[9,7] v", "y = MatMulInteger(x, v)")
    lowered = run_passes(import_model(model).module, layout_phase(), PassContext(None))
    assert count(lowered, "matmul") == 1
