"""Tables: every function against ONNX Runtime on all 256 codes, and what gets no table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from tvm import relax

from footprint_compiler.frontend import import_model
from footprint_compiler.passes.base import PassContext, run_passes
from footprint_compiler.passes.lower_qdq import LowerQdq
from footprint_compiler.passes.pipeline import layout_phase
from tests.kernels.harness import MACHINES, Bench, host_llvm
from tests.passes.evaluate import count
from tests.passes.graphs import apply, module_of
from tests.passes.qdq_cases import LIMITS, Q

op = relax.op
SIGNED, UNSIGNED, POSITIVE = Q(0.05, 10), Q(0.04, 100, "uint8"), Q(0.03, -128)
OUT, UNIT = Q(0.05, -30), Q(1 / 256, 0, "uint8")

BETWEEN = "t = QuantizeLinear(s, us, uz)\n u = DequantizeLinear(t, us, uz)"

FUNCTIONS: dict[str, tuple[str, Q, Q]] = {
    "add": ("y = Add(f, c)", SIGNED, OUT),
    "subtract": ("y = Sub(c, f)", SIGNED, OUT),
    "multiply": ("y = Mul(f, c)", UNSIGNED, OUT),
    "divide": ("y = Div(f, c)", SIGNED, OUT),
    "maximum": ("y = Max(f, c)", SIGNED, OUT),
    "minimum": ("y = Min(f, c)", UNSIGNED, OUT),
    "relu": ("y = Relu(f)", SIGNED, OUT),
    "clip": ("y = Clip(f, m, c)", SIGNED, OUT),
    "sigmoid": ("y = Sigmoid(f)", SIGNED, UNIT),
    "tanh": ("y = Tanh(f)", UNSIGNED, Q(1 / 128, 0)),
    "exp": ("y = Exp(f)", SIGNED, Q(1.5, -128)),
    "log": ("e = Add(f, c)\n y = Log(e)", POSITIVE, OUT),
    "sqrt": ("y = Sqrt(f)", POSITIVE, Q(0.02, -128)),
    "abs": ("y = Abs(f)", SIGNED, OUT),
    "negative": ("y = Neg(f)", SIGNED, OUT),
    "erf": ("y = Erf(f)", SIGNED, Q(1 / 128, 0)),
    "silu": ("s = Sigmoid(f)\n y = Mul(f, s)", SIGNED, OUT),
    "leaky relu": ("y = LeakyRelu <alpha = 0.2> (f)", SIGNED, OUT),
    "hard sigmoid": ("y = HardSigmoid <alpha = 0.2, beta = 0.5> (f)", SIGNED, UNIT),
    "hard swish": ("y = HardSwish(f)", SIGNED, OUT),
    "gelu": (
        "a = Mul(f, r)\n e = Erf(a)\n b = Add(e, o)\n d = Mul(f, b)\n y = Mul(d, h)",
        SIGNED,
        OUT,
    ),
    "gelu operator": ("y = Gelu(f)", SIGNED, OUT),
    "gelu by tanh": ('y = Gelu <approximate = "tanh"> (f)', SIGNED, OUT),
    "prelu": ("y = PRelu(f, o)", SIGNED, OUT),
    "power": ("a = Abs(f)\n y = Pow(a, c)", SIGNED, OUT),
    "elu": ("y = Elu <alpha = 0.7> (f)", SIGNED, OUT),
    "celu": ("y = Celu <alpha = 0.7> (f)", SIGNED, OUT),
    "selu": ("y = Selu(f)", SIGNED, OUT),
    "softplus": ("y = Softplus(f)", SIGNED, OUT),
    "softsign": ("y = Softsign(f)", SIGNED, OUT),
    "mish": ("y = Mish(f)", SIGNED, OUT),
    "cos": ("y = Cos(f)", SIGNED, OUT),
    "shrink": ("y = Shrink <lambd = 0.5, bias = 0.1> (f)", SIGNED, OUT),
    "thresholded relu": ("y = ThresholdedRelu <alpha = 0.5> (f)", SIGNED, OUT),
    "other scale": ("y = Identity(f)", SIGNED, Q(0.11, 3, "uint8")),
    "silu with a code between": (f"s = Sigmoid(f)\n {BETWEEN}\n y = Mul(f, u)", SIGNED, OUT),
    "hard swish with a code between": (
        f"s = HardSigmoid(f)\n {BETWEEN}\n e = DequantizeLinear(q, xs, xz)\n y = Mul(u, e)",
        UNSIGNED,
        OUT,
    ),
    "sum with a code between": (f"s = Tanh(f)\n {BETWEEN}\n y = Add(u, f)", SIGNED, OUT),
    "difference with a code between": (f"s = Sigmoid(f)\n {BETWEEN}\n y = Sub(f, u)", SIGNED, OUT),
}  # fmt: skip
CONSTANTS = {"c": 1.25, "m": -0.8, "r": 0.70710678, "o": 1.0, "h": 0.5}


def _model(body: str, x: Q, y: Q) -> onnx.ModelProto:
    text = f"""<ir_version: 8, opset_import: ["" : 20]>
        g ({x.dtype}[256] q) => ({y.dtype}[256] p) {{
            f = DequantizeLinear(q, xs, xz)
            {body}
            p = QuantizeLinear(y, ys, yz)
        }}"""
    model = onnx.parser.parse_model(text)
    arrays = {name: np.array(value, "float32") for name, value in CONSTANTS.items()}
    arrays |= {"xs": np.array(x.scale, "float32"), "ys": np.array(y.scale, "float32")}
    arrays |= {"us": np.array(UNIT.scale, "float32"), "uz": np.array(UNIT.zero, UNIT.dtype)}
    arrays |= {"xz": np.array(x.zero, x.dtype), "yz": np.array(y.zero, y.dtype)}
    read = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in arrays.items() if name in read
    )
    return model


def _all_codes(x: Q) -> np.ndarray:
    low, high = LIMITS[x.dtype]
    return np.arange(low, high + 1).astype(x.dtype)


def _by_runtime(model: onnx.ModelProto, codes: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {"q": codes})[0])


def _table(module: Any) -> np.ndarray:
    """The one constant of 256 entries that ``main`` reads."""
    found: list[np.ndarray] = []

    def visit(expr: Any) -> None:
        value = getattr(expr, "value", None)
        if hasattr(value, "numpy") and value.numpy().shape == (256,):
            found.append(value.numpy())

    relax.analysis.post_order_visit(module["main"], visit)
    (table,) = found
    return table


@pytest.mark.parametrize("name", FUNCTIONS)
def test_table_is_what_onnxruntime_computes(name: str) -> None:
    model = _model(*FUNCTIONS[name])
    module = run_passes(import_model(model).module, layout_phase(), PassContext(None))
    assert count(module, "dequantize") == count(module, "quantize") == 0
    assert count(module, "call_tir") == 1
    codes = _all_codes(FUNCTIONS[name][1])
    want = _by_runtime(model, codes).astype(int)
    got = _table(module).astype(int)
    assert len(np.unique(want)) > 20
    # a float function may differ in its last bit, which shows only next to half a step
    assert np.abs(got - want).max() <= 1
    assert (got != want).sum() <= 1


def test_tables_run(tmp_path: Path) -> None:
    bench = Bench()
    for x in (SIGNED, UNSIGNED):
        codes = np.random.default_rng(2).permutation(_all_codes(x)).reshape(4, 64)
        real = (codes.astype(np.int64) - x.zero) * x.real
        expected = OUT.clamp(np.rint(np.maximum(real, 0.2 * real) / OUT.real))

        def make(v: Any, x: Q = x) -> Any:
            return OUT.into(op.nn.leakyrelu(x.out_of(v), 0.2))

        bench.add(x.dtype, make, [codes], expected)
    built = bench.build(MACHINES["256"], tmp_path, host_llvm(), layout=True)
    for name in bench.cases:
        built.check(name)
        assert len(built.calls(name)) == 1


def _const(*values: float) -> Any:
    return relax.const(np.array(values, "float32"))


DECLINES: dict[str, Any] = {
    "unknown function": lambda v: OUT.into(op.nn.softmax(SIGNED.out_of(v), 0)),
    "infinite value": lambda v: OUT.into(op.log(POSITIVE.out_of(v))),
    "constant with a NaN": lambda v: OUT.into(op.add(_const(np.nan, np.nan), SIGNED.out_of(v))),
    "not a number": lambda v: OUT.into(op.sqrt(SIGNED.out_of(v))),
    "constant of several values": lambda v: OUT.into(op.maximum(_const(1, 2), SIGNED.out_of(v))),
    "two tensors": lambda v: OUT.into(op.maximum(SIGNED.out_of(v), OUT.out_of(v))),
    "float beside it": lambda v: OUT.into(op.maximum(SIGNED.out_of(v), op.astype(v, "float32"))),
    "larger than the tensor": lambda v: OUT.into(
        op.maximum(SIGNED.out_of(v), relax.const(np.zeros((1, 1, 1), "float32")))
    ),
    "too long": lambda v: OUT.into(_repeated(SIGNED.out_of(v))),
}


def _repeated(value: Any) -> Any:
    for _ in range(30):
        value = op.tanh(value)
    return value


@pytest.mark.parametrize("name", DECLINES)
def test_no_table(name: str) -> None:
    make = DECLINES[name]
    before = module_of([(3, 2)], lambda emit, v: emit(make(v)), "int8")
    after, lines = apply(before, LowerQdq(), explain="lower-qdq")
    assert len(lines) == 1
    assert count(after, "quantize") == 1
    assert count(after, "call_tir") == 0
