"""Elementary functions against float64, over every exponent, and where they must be exact."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
import tvm_ffi
from tvm import relax, te, tirx

from footprint_compiler.codegen.objects import lower_kernel
from footprint_compiler.kernels.tir import CONDITIONAL
from tests.kernels.harness import Bench, Fleet, execute, host_llvm, undefined_symbols

op = relax.op
INF, NAN = np.float32(np.inf), np.float32(np.nan)


def every_exponent(per_exponent: int = 60) -> np.ndarray:
    """All exponents of float32, subnormal ones included, with random fractions and the ends."""
    rng = np.random.default_rng(0)
    exponents = np.repeat(np.arange(255, dtype=np.uint32), per_exponent)
    fractions = rng.integers(0, 1 << 23, exponents.size, np.uint32)
    fractions[::per_exponent], fractions[1::per_exponent] = 0, (1 << 23) - 1
    bits = (exponents << np.uint32(23)) | fractions
    positive = bits.view(np.float32)
    return np.concatenate([positive, -positive, np.array([0, -0.0, INF, -INF, NAN], np.float32)])


def around(*centres: float) -> np.ndarray:
    """The 200 nearest float32 on either side of each centre."""
    found = []
    for centre in centres:
        bits = np.array([centre], np.float32).view(np.int32)[0]
        found.append((bits + np.arange(-200, 201, dtype=np.int32)).view(np.float32))
    return np.concatenate(found)


def dense(low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, 20011, dtype=np.float32)


SAMPLE = np.concatenate([every_exponent(), dense(-110, 110), dense(-5, 5), dense(-1, 1)])
BREAKS = {
    "exp": around(88.7228, -87.3365, -103.97, 0.34657, -0.34657),
    "log": around(1, 0.70710678, 1.41421356, 1.1754944e-38, 3.4e38),
    "tanh": around(0.625, -0.625, 9.01, -9.01, 44, 88),
    "sigmoid": around(88.7, -88.7, -103.97, -87.3, 16.6),
    "erf": around(1, -1, 4, -4, 3.9),
}
TIES = np.arange(-3000, 3000, dtype=np.float32) / 2
LARGE = around(2**22, 2**23, 2**24, 2**31, -(2**22), -(2**23), -(2**24))
ROUNDING_SAMPLE = np.concatenate([SAMPLE, TIES, LARGE, around(0.5, -0.5, 1.5, 2.5, -1.5)])

FUNCTIONS: dict[str, tuple[Callable[[Any], Any], Callable[[np.ndarray], np.ndarray], float]] = {
    "exp": (op.exp, np.exp, 2),
    "log": (op.log, np.log, 2),
    "tanh": (op.tanh, np.tanh, 3),
    "sigmoid": (op.sigmoid, lambda x: np.exp(-np.logaddexp(0, -x)), 3),
    "erf": (op.erf, np.vectorize(math.erf, otypes=[np.float64]), 3),
}
"""name -> (operator, function in float64, bound of the documentation in ulp)."""

ROUNDINGS: dict[str, tuple[Callable[[Any], Any], Callable[[np.ndarray], np.ndarray]]] = {
    "round": (op.round, np.rint),
    "floor": (op.floor, np.floor),
    "ceil": (op.ceil, np.ceil),
    "trunc": (op.trunc, np.trunc),
}


def sample_of(name: str) -> np.ndarray:
    if name in ROUNDINGS:
        return ROUNDING_SAMPLE
    return np.concatenate([SAMPLE, BREAKS[name]])


def _bench() -> Bench:
    """Vectors: behind a pooling of one element, whose kernel is vectorized; scalars: alone."""
    bench = Bench()
    for name, (operator, *_) in {**FUNCTIONS, **ROUNDINGS}.items():
        x = sample_of(name)
        x = np.concatenate([x, np.zeros(-x.size % 8, np.float32)])
        image = x.reshape(1, 1, -1, 8)

        def vector(v: Any, operator: Any = operator) -> Any:
            return operator(op.nn.max_pool2d(v, layout="NHWC", out_layout="NHWC"))

        bench.add(f"{name}-vector", vector, [image], image)
        bench.add(f"{name}-plain", lambda v, operator=operator: operator(v), [x], x)
    return bench


BENCH = _bench()
MACHINE_NAMES = ("scalar", "128", "256")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    pairs = [(machine, name) for machine in MACHINE_NAMES for name in BENCH.cases]
    return Fleet(BENCH, pairs, tmp_path_factory.mktemp("math"))


def _run(fleet: Fleet, machine: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    built = fleet[machine]
    x = BENCH.cases[name].inputs[0]
    result = execute(built.program, built.library, built.calls(name), {f"{name}.in0": x})
    return x.ravel(), result[f"{name}.out"].ravel()


def ulp(exact: np.ndarray) -> np.ndarray:
    """Spacing of float32 at each value, subnormal range included."""
    magnitude = np.minimum(np.abs(exact), np.finfo(np.float32).max)
    exponent = np.floor(np.log2(np.maximum(magnitude, np.finfo(np.float32).tiny)))
    result: np.ndarray = np.exp2(exponent - 23)
    return result


@pytest.mark.parametrize("form", ["vector", "plain"])
@pytest.mark.parametrize("machine", MACHINE_NAMES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_is_within_the_documented_bound(
    fleet: Fleet, machine: str, name: str, form: str
) -> None:
    x, got = _run(fleet, machine, f"{name}-{form}")
    if form == "vector":  # the pooling in front of the function does not pass -inf or NaN on
        keep = np.isfinite(x)
        x, got = x[keep], got[keep]
    with np.errstate(all="ignore"):
        exact = FUNCTIONS[name][1](x.astype(np.float64))
        rounded = exact.astype(np.float32)
    special = ~np.isfinite(rounded)
    np.testing.assert_array_equal(got[special], rounded[special], f"{name} of {x[special]}")
    x, got, exact = x[~special], got[~special].astype(np.float64), exact[~special]
    assert np.isfinite(got).all()
    error = np.abs(got - exact) / ulp(exact)
    worst = int(np.argmax(error))
    assert error[worst] <= FUNCTIONS[name][2], f"{error[worst]:.2f} ulp at {x[worst]!r}"


@pytest.mark.parametrize("form", ["vector", "plain"])
@pytest.mark.parametrize("machine", MACHINE_NAMES)
@pytest.mark.parametrize("name", ROUNDINGS)
def test_rounding_is_exact(fleet: Fleet, machine: str, name: str, form: str) -> None:
    x, got = _run(fleet, machine, f"{name}-{form}")
    if form == "vector":
        keep = np.isfinite(x)
        x, got = x[keep], got[keep]
    expected = ROUNDINGS[name][1](x)
    np.testing.assert_array_equal(got, expected)
    finite = np.isfinite(x)
    np.testing.assert_array_equal(np.signbit(got[finite]), np.signbit(expected[finite]))


@pytest.mark.parametrize("name", ["tanh", "erf"])
def test_odd_functions_keep_the_sign_of_zero(fleet: Fleet, name: str) -> None:
    x, got = _run(fleet, "256", f"{name}-plain")
    zero = x == 0
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(x[zero]))


def test_no_function_of_a_c_library_is_called(fleet: Fleet) -> None:
    for machine in ("scalar", "256"):
        names = undefined_symbols(fleet[machine].content)
        assert not names, names


def test_a_condition_guards_the_argument_too() -> None:
    """exp of what padding leaves out would be computed from memory beside the tensor."""
    a = te.placeholder((4, 5), name="a")
    padded = te.compute(
        (6, 5), lambda i, j: tirx.if_then_else(i < 4, tirx.exp(a[i, j]), tirx.const(0.0, "float32"))
    )
    kernel = lower_kernel(te.create_prim_func([a, padded]), "k", host_llvm())
    free, guarded = [0], [0]

    def inside(call: Any) -> None:
        if isinstance(call.op, tvm.ir.Op) and call.op.name == CONDITIONAL:
            _count_loads(call, guarded)

    def bound(bind: Any) -> None:
        _count_loads(bind.value, free)
        tvm_ffi.structural_walk(bind.value, (tvm.ir.Call, inside))

    tvm_ffi.structural_walk(kernel.func.body, (tirx.Bind, bound))
    assert free == guarded
    assert guarded[0] > 0


def _count_loads(node: Any, count: list[int]) -> None:
    def visit(_: Any) -> None:
        count[0] += 1

    tvm_ffi.structural_walk(node, (tvm.ir.TensorLoad, visit))
