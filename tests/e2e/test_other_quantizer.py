"""Networks that ONNX Runtime's own quantizer wrote: in integers, equal to exact arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from footprint_compiler.build import compile_in_process
from footprint_compiler.frontend import import_model
from footprint_compiler.output_scales import output_scales
from footprint_compiler.passes.base import PassContext, run_passes
from footprint_compiler.passes.name_float_islands import float_islands
from footprint_compiler.passes.pipeline import layout_phase
from tests.passes.evaluate import evaluate

SHAPE = (1, 3, 17, 19)
NETWORK = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,3,17,19] x) => (float[1,5] y) {
    a = Conv <kernel_shape = [3,3], strides = [2,2], pads = [1,1,1,1]> (x, w1, b1)
    b = Relu(a)
    c = Conv <kernel_shape = [3,3], pads = [1,1,1,1], group = 8> (b, w2, b2)
    d = Clip(c, zero, six)
    e = Conv <kernel_shape = [1,1]> (d, w3, b3)
    f = Add(b, e)
    s = Sigmoid(f)
    m = Mul(f, s)
    p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (m)
    q = AveragePool <kernel_shape = [2,2], strides = [1,1]> (p)
    r = MaxPool <kernel_shape = [3,3], strides = [1,1], pads = [1,1,0,0]> (p)
    t = Concat <axis = 1> (q, r)
    h = HardSwish(t)
    i = GlobalAveragePool(h)
    j = Flatten(i)
    y = Gemm <transB = 1> (j, w4, b4)
}"""
WEIGHTS = {"w1": (8, 3, 3, 3), "w2": (8, 1, 3, 3), "w3": (8, 8, 1, 1), "w4": (5, 16)}
KINDS = {
    "uint8-int8-per-channel": (QuantType.QUInt8, QuantType.QInt8, True),
    "int8-int8": (QuantType.QInt8, QuantType.QInt8, False),
    "uint8-uint8": (QuantType.QUInt8, QuantType.QUInt8, False),
}


class Samples(CalibrationDataReader):
    """Eight seeded images."""

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self.images = iter([rng.normal(size=SHAPE).astype("float32") for _ in range(8)])

    def get_next(self) -> Any:
        image = next(self.images, None)
        return None if image is None else {"x": image}


def _network() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    model = onnx.parser.parse_model(NETWORK)
    arrays = {"zero": np.float32(0), "six": np.float32(6)}
    for name, shape in WEIGHTS.items():
        arrays[name] = rng.normal(0.1, 0.4, shape).astype("float32")
        arrays[name.replace("w", "b")] = rng.normal(0, 0.4, shape[0]).astype("float32")
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items())
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_equals_exact_arithmetic(tmp_path: Path, kind: str) -> None:
    source, quantized = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    onnx.save(_network(), source)
    activations, weights, per_channel = KINDS[kind]
    quantize_static(
        source,
        quantized,
        Samples(),
        quant_format=QuantFormat.QDQ,
        activation_type=activations,
        weight_type=weights,
        per_channel=per_channel,
    )
    graph = import_model(quantized)
    lowered = run_passes(graph.module, layout_phase(), PassContext(None))
    assert float_islands(lowered) == []
    x = np.random.default_rng(2).normal(size=SHAPE).astype("float32")
    (exact,) = evaluate(graph.module, [x])
    got = compile_in_process(graph)({"x": x})["y"]
    steps = np.rint((got - exact) / output_scales(quantized)["y"])
    assert np.abs(steps).max() <= 1
    assert exact.std() > 0
