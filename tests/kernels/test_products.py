"""Matrix products: constant weights (dense) and two activations, with every kind of broadcast."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tests.kernels.harness import Bench, Fleet, assignments
from tests.kernels.reference import unit_roundoff, wide

SHAPES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "1x1x1": ((1, 1), (1, 1)),
    "m1": ((1, 31), (31, 33)),
    "k1": ((5, 1), (1, 9)),
    "n1": ((7, 33), (33, 1)),
    "odd": ((13, 7), (7, 127)),
    "even": ((16, 32), (32, 64)),
    "lead1": ((1, 1, 5), (5, 8)),
    "lead3": ((2, 3, 4, 9), (9, 7)),
}
ACTIVATIONS = {
    **SHAPES,
    "batch": ((3, 5, 7), (3, 7, 9)),
    "batch-left": ((3, 5, 7), (1, 7, 9)),
    "batch-right": ((1, 5, 7), (3, 7, 9)),
    "batch-missing": ((5, 7), (2, 3, 7, 9)),
    "batch-cross": ((2, 1, 5, 7), (3, 7, 9)),
    "batch-cross-ones": ((4, 1, 1, 7), (1, 3, 7, 1)),
    "vector-left": ((7,), (7, 9)),
    "vector-right": ((5, 7), (7,)),
    "vectors": ((33,), (33,)),
    "vector-batch": ((7,), (3, 7, 9)),
    "batch-vector": ((3, 5, 7), (7,)),
}


def _matrices(
    a: tuple[int, ...], b: tuple[int, ...], dtype: str, seed: int
) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    if dtype == "int32":  # large enough to wrap around
        return tuple(rng.integers(-(2**31), 2**31, s, np.int64).astype(dtype) for s in (a, b))
    return tuple(rng.normal(size=shape).astype(dtype) for shape in (a, b))


def _add(bench: Bench, name: str, a: np.ndarray, b: np.ndarray, constant: bool) -> None:
    expected = np.matmul(wide(a), wide(b))
    bound: object = 0
    if a.dtype.kind == "f":
        magnitude = np.matmul(np.abs(wide(a)), np.abs(wide(b)))
        bound = (a.shape[-1] + 1) * unit_roundoff(a.dtype) * magnitude
    weights = relax.const(b, str(b.dtype))
    if constant:
        bench.add(name, lambda v: relax.op.matmul(v, weights), [a], expected, bound)
    else:
        bench.add(name, relax.op.matmul, [a, b], expected, bound)


def _bench() -> Bench:
    bench = Bench()
    for seed, (name, shapes) in enumerate(SHAPES.items()):
        _add(bench, f"dense-{name}", *_matrices(*shapes, "float32", seed), True)
    for seed, (name, shapes) in enumerate(ACTIVATIONS.items()):
        _add(bench, f"matmul-{name}", *_matrices(*shapes, "float32", seed + 50), False)
    for seed, dtype in enumerate(("int32", "float64", "float16")):
        a, b = _matrices((6, 9), (9, 17), dtype, seed + 90)
        _add(bench, f"dense-{dtype}", a, b, True)
        _add(bench, f"matmul-{dtype}", a, b, False)
    a, b = _matrices((2, 3, 7), (2, 7, 9), "float32", 99)
    _add(bench, "dense-batched-weights", a, b, True)
    square = _matrices((9, 9), (9, 9), "float32", 98)[0]
    magnitude = np.abs(wide(square)) @ np.abs(wide(square))
    bound = 10 * unit_roundoff(np.float32) * magnitude
    expected = wide(square) @ wide(square)
    bench.add("matmul-itself", lambda v: relax.op.matmul(v, v), [square], expected, bound)
    return bench


BENCH = _bench()
PAIRS = assignments(list(BENCH.cases))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(BENCH, PAIRS, tmp_path_factory.mktemp("products"))


@pytest.mark.parametrize(("machine", "name"), PAIRS)
def test_matches_reference_without_temporaries(fleet: Fleet, machine: str, name: str) -> None:
    built = fleet[machine]
    built.check(name)
    assert built.calls(name)[0].scratch == ()


def test_family_follows_from_what_is_constant(fleet: Fleet) -> None:
    built = fleet["256"]
    for name in BENCH.cases:
        generic = "vector" in name
        wanted = "generic" if generic else name.split("-")[0]
        if name == "dense-batched-weights":
            wanted = "matmul"
        assert built.families(name) == [wanted], name
