"""Functions of 16-bit tensors: every code within one step of the graph, or no table at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tvm import relax

from footprint_compiler.passes.lower_qdq import LowerQdq
from tests.kernels.harness import MACHINES, Bench, host_llvm
from tests.passes.evaluate import count
from tests.passes.graphs import apply, module_of
from tests.passes.qdq_cases import LIMITS, Q

op = relax.op
X, U = Q(1 / 4096, 0, "int16"), Q(1 / 4096, 30000, "uint16")
Y = Q(1 / 32768, 0, "int16")

FUNCTIONS: dict[str, tuple[Any, Any, Q, Q]] = {
    "sigmoid": (op.sigmoid, lambda v: 1 / (1 + np.exp(-v)), X, Y),
    "tanh": (op.tanh, np.tanh, U, Y),
    "silu": (op.nn.silu, lambda v: v / (1 + np.exp(-v)), X, Q(1 / 4000, 7, "int16")),
    "exp to 8 bits": (op.exp, np.exp, X, Q(4.0, -128)),
    "leaky relu": (
        lambda v: op.nn.leakyrelu(v, 0.2),
        lambda v: np.where(v < 0, 0.2 * v, v),
        X,
        Q(1 / 4096, 5, "uint16"),
    ),
}


def _all_codes(x: Q) -> np.ndarray:
    low, high = LIMITS[x.dtype]
    return np.arange(low, high + 1).astype(x.dtype)


def test_every_code_is_within_one_step(tmp_path: Path) -> None:
    bench, exact = Bench(), {}
    for name, (make, function, x, y) in FUNCTIONS.items():
        codes = _all_codes(x)
        real = function((codes.astype(np.int64) - x.zero) * x.real)
        exact[name] = y.clamp(np.rint(real / y.real))

        def quantized(v: Any, make: Any = make, x: Q = x, y: Q = y) -> Any:
            return op.astype(y.into(make(x.out_of(v))), "float32")

        bench.add(name, quantized, [codes], exact[name].astype(np.float64), 1.0)
    built = bench.build(MACHINES["256"], tmp_path, host_llvm(), layout=True)
    for name in FUNCTIONS:
        built.check(name)


DECLINES: dict[str, Any] = {
    "a pole between two codes": lambda v: Y.into(op.sqrt(op.abs(X.out_of(v)))),
    "an infinite value": lambda v: Y.into(op.log(X.out_of(v))),
    "a step": lambda v: Y.into(op.sign(X.out_of(v))),
}


@pytest.mark.parametrize("name", DECLINES)
def test_what_no_table_follows_stays_in_float(name: str) -> None:
    before = module_of([(3, 2)], lambda emit, v: emit(DECLINES[name](v)), "int16")
    after, lines = apply(before, LowerQdq(), explain="lower-qdq")
    assert len(lines) == 1
    assert count(after, "quantize") == 1
    assert count(after, "call_tir") == 0
