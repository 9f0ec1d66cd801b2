"""Layer normalization in integers: the stated arithmetic, within a step of real numbers."""

from __future__ import annotations

from math import frexp, isqrt
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from footprint_compiler.build import compile_in_process
from footprint_compiler.frontend import import_model
from footprint_compiler.passes.base import PassContext, run_passes
from footprint_compiler.passes.name_float_islands import float_islands
from footprint_compiler.passes.pipeline import layout_phase
from footprint_compiler.validation.exact import ExactModel
from tests.passes.qdq_cases import LIMITS, Q

OPERATOR = "n = LayerNormalization <axis = -1, epsilon = 0.001> (x, g, b)"
WRITTEN_OUT = """m = ReduceMean <axes = [2]> (x) d = Sub(x, m) t = Mul(d, d)
    v = ReduceMean <axes = [2]> (t) e = Add(v, eps) r = Sqrt(e) u = Div(d, r)
    h = Mul(u, g) n = Add(h, b)"""
BARE = """m = ReduceMean <axes = [2]> (x) d = Sub(x, m) t = Pow(d, two)
    v = ReduceMean <axes = [2]> (t) e = Add(v, eps) r = Sqrt(e) n = Div(d, r)"""
CASES: dict[str, tuple[str, Q, Q, int]] = {
    "operator": (OPERATOR, Q(0.05, 10), Q(0.04, -3), 31),
    "uint8": (OPERATOR, Q(0.02, 200, "uint8"), Q(0.03, 128, "uint8"), 9),
    "written out": (WRITTEN_OUT, Q(0.05, 10), Q(0.04, -3), 192),
    "bare": (BARE, Q(0.004, -100), Q(0.03, 0), 8),
    "one element": (OPERATOR, Q(0.05, 10), Q(0.01, -3), 1),
    "16 bits": (OPERATOR, Q(0.0003, 0, "int16"), Q(0.0002, 0, "int16"), 33),
    "from 16 to 8": (WRITTEN_OUT, Q(0.0003, 30000, "uint16"), Q(0.04, 0), 7),
}


def _model(body: str, x: Q, y: Q, extent: int) -> onnx.ModelProto:
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
        f ({x.dtype}[2,3,{extent}] q) => ({y.dtype}[2,3,{extent}] p) {{
            x = DequantizeLinear(q, xs, xz) {body} p = QuantizeLinear(n, ys, yz) }}"""
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(extent)
    arrays: dict[str, Any] = {"xs": np.float32(x.scale), "ys": np.float32(y.scale)}
    arrays |= {"xz": np.array(x.zero, x.dtype), "yz": np.array(y.zero, y.dtype)}
    arrays |= {"g": rng.normal(1, 0.3, extent).astype("float32")}
    arrays |= {"b": rng.normal(0, 0.3, extent).astype("float32")}
    arrays |= {"eps": np.float32(0.001), "two": np.float32(2)}
    read = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array), name)
        for name, array in arrays.items()
        if name in read
    )
    return model


def _codes(x: Q, extent: int) -> np.ndarray:
    codes = x.codes(2, 3, extent)
    codes[0, 1] = codes[0, 1, 0]  # a row without variance
    codes[1, 2, ::2], codes[1, 2, 1::2] = LIMITS[x.dtype]
    return codes


def _stated(x: Q, y: Q, gamma: np.ndarray, beta: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Python integers, which have no limit."""
    extent = rows.shape[-1]
    added = max(1, round(float(np.float32(0.001)) * extent**2 / x.real**2))
    bits = min(30, 30 - frexp(float(np.abs(gamma).max()) / y.real)[1])
    factors = [round(float(g) / y.real * 2**bits) for g in gamma.astype("float64")]
    offsets = [round(float(b) / y.real * 2 ** (22 + bits)) for b in beta.astype("float64")]
    result = []
    for row in rows.reshape(-1, extent).tolist():
        total = sum(row)
        widened = extent * sum(q * q for q in row) - total**2 + added
        shift = 0
        while widened < 2**60:
            widened, shift = widened * 4, shift + 1
        inverse = 2**62 // isqrt(widened)
        for q, factor, offset in zip(row, factors, offsets, strict=True):
            unit = ((extent * q - total) * inverse + (1 << (39 - shift))) >> (40 - shift)
            result.append((unit * factor + offset + (1 << (21 + bits))) >> (22 + bits))
    return y.clamp(np.array(result, object).astype(np.int64)).reshape(rows.shape)


@pytest.mark.parametrize("name", CASES)
def test_bits_and_distance(name: str) -> None:
    body, x, y, extent = CASES[name]
    model = _model(body, x, y, extent)
    graph = import_model(model)
    assert float_islands(run_passes(graph.module, layout_phase(), PassContext(None))) == []
    codes = _codes(x, extent)
    got = compile_in_process(graph)({"q": codes})["p"]
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    gamma = constants.get("g", np.ones(extent, "float32"))
    beta = constants.get("b", np.zeros(extent, "float32"))
    np.testing.assert_array_equal(got, _stated(x, y, gamma, beta, codes))
    exact = ExactModel(model).run(["p"], {"q": codes})["p"].astype(np.int64)
    steps = np.abs(got.astype(np.int64) - exact)
    assert steps.max() <= 1
    assert (steps > 0).mean() < 0.02
    assert extent == 1 or len(np.unique(exact)) > 10


DECLINES = {
    "another mean": WRITTEN_OUT.replace("d = Sub(x, m)", "k = Neg(m) d = Sub(x, k)"),
    "no root": WRITTEN_OUT.replace("r = Sqrt(e)", "r = Exp(e)"),
    "another axis": WRITTEN_OUT.replace("[2]", "[1]"),
    "sum of squares of others": WRITTEN_OUT.replace("t = Mul(d, d)", "t = Mul(d, x)"),
}


@pytest.mark.parametrize("name", DECLINES)
def test_what_is_no_layer_normalization_stays_in_float(name: str) -> None:
    model = _model(DECLINES[name], Q(0.05, 10), Q(0.04, -3), 9)
    module = run_passes(import_model(model).module, layout_phase(), PassContext(None))
    assert "sqrt" in {i.operator for i in float_islands(module)} or "root" in name
    assert float_islands(module)
