"""uint8 inside a graph becomes int8: the same numbers to the bit, and what stays as it is."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from tvm import relax

from footprint_compiler.passes.sign_codes import SignCodes
from tests.kernels.harness import MACHINES, Bench, Built, host_llvm
from tests.passes.evaluate import evaluate
from tests.passes.graphs import apply, module_of
from tests.passes.qdq_cases import Q
from tests.passes.qdq_table_of_cases import CASES

op = relax.op
X, Y = Q(0.04, 131, "uint8"), Q(0.05, 7, "uint8")
SIGNED = Q(0.04, 3)


def _types(module: Any) -> Counter[str]:
    """How often what is quantized to, and dequantized from, which type."""
    calls = [b.value for block in module["main"].body.blocks for b in block.bindings]
    found: Counter[str] = Counter()
    for call in calls:
        name = str(call.op.name) if isinstance(call, relax.Call) else ""
        if name == "relax.quantize":
            found[f"to {call.ty.dtype}"] += 1
        elif name == "relax.dequantize":
            found[f"of {call.args[0].ty.dtype}"] += 1
    return found


def _chain(emit: Any, v: Any) -> Any:
    inner = emit(Y.into(op.nn.relu(emit(X.out_of(emit(X.into(v)))))))
    return op.abs(emit(Y.out_of(inner)))


def test_tensors_inside_are_signed() -> None:
    before = module_of([(3, 5)], _chain)
    after, _ = apply(before, SignCodes())
    assert _types(after) == {"to int8": 2, "of int8": 2}
    x = np.random.default_rng(0).normal(size=(3, 5)).astype("float32") * 4
    np.testing.assert_array_equal(evaluate(after, [x])[0], evaluate(before, [x])[0])


def test_what_the_graph_takes_and_gives_keeps_its_type() -> None:
    before = module_of([(3, 5)], lambda emit, v: emit(Y.into(op.nn.relu(X.out_of(v)))), "uint8")
    after, _ = apply(before, SignCodes())
    assert _types(after) == {"of uint8": 1, "to int8": 2, "of int8": 2, "to uint8": 1}
    codes = X.codes(3, 5)
    assert str(after["main"].ret_ty.dtype) == "uint8"
    np.testing.assert_array_equal(evaluate(after, [codes])[0], evaluate(before, [codes])[0])


def test_a_reader_of_codes_gets_the_codes_that_it_had() -> None:
    before = module_of(
        [(3, 5)], lambda emit, v: emit(op.reshape(emit(X.into(op.nn.relu(v))), (5, 3)))
    )
    after, _ = apply(before, SignCodes())
    assert _types(after) == {"to int8": 1, "of int8": 1, "to uint8": 1}
    x = np.random.default_rng(0).normal(size=(3, 5)).astype("float32") * 4
    np.testing.assert_array_equal(evaluate(after, [x])[0], evaluate(before, [x])[0])


def _per_channel(v: Any) -> Any:
    scale = relax.const(np.array([0.1, 0.2, 0.3], "float32"))
    return op.dequantize(v, scale, relax.const(np.full(3, 9, "uint8")), 1, "float32")


@pytest.mark.parametrize(
    ("make", "dtype"),
    [
        (lambda emit, v: emit(SIGNED.out_of(v)), "int8"),
        (lambda emit, v: emit(_per_channel(v)), "uint8"),
    ],
    ids=["int8", "per channel"],
)
def test_everything_else_stays(make: Any, dtype: str) -> None:
    before = module_of([(2, 3)], make, dtype)
    after, _ = apply(before, SignCodes())
    assert after.same_as(before)


UNSIGNED = [
    name
    for name, case in CASES.items()
    if "uint8" in {str(a.dtype) for a in (*case.inputs, case.expected)}
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    bench = Bench()
    for name in UNSIGNED:
        bench.add(name, CASES[name].make, CASES[name].inputs, CASES[name].expected)
    folder = tmp_path_factory.mktemp("signed")
    return bench.build(
        MACHINES["scalar"], folder, host_llvm(baseline=True), layout=True, signed=True
    )


@pytest.mark.parametrize("name", UNSIGNED)
def test_bits_are_those_of_the_stated_arithmetic(built: Built, name: str) -> None:
    built.check(name)
