"""Kernels without a generator of their own, and softmax: numbers, scratch, overwriting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from tvm import relax

from tests.kernels.harness import Bench, Fleet, assignments
from tests.kernels.reference import unit_roundoff

op = relax.op
U = unit_roundoff(np.float32)
EXP_ULP = 2


def seeded(*shape: int, seed: int = 1, scale: float = 1) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)


def _softmax(x: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Value and bound: exp within 2 ulp of an argument off by half an ulp, a sum, a division."""
    x = x.astype(np.float64)
    shifted = x - x.max(axis, keepdims=True)
    power = np.exp(shifted)
    value = power / power.sum(axis, keepdims=True)
    relative = 2 * EXP_ULP * U * 2 + np.abs(shifted) * U + (x.shape[axis] + 3) * U
    weighted = (relative * power).sum(axis, keepdims=True) / power.sum(axis, keepdims=True)
    return value, value * (relative + weighted) + 2.0**-149


def _log_softmax(x: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    x = x.astype(np.float64)
    shifted = x - x.max(axis, keepdims=True)
    value = shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))
    inner = (x.shape[axis] + 12 + np.abs(shifted).max()) * U
    return value, inner + 6 * U * (np.abs(value) + np.abs(shifted) + 1)


Reference = Callable[..., tuple[np.ndarray, Any]]
Row = tuple[Callable[..., Any], Sequence[np.ndarray], Reference]

SOFTMAX: dict[str, Row] = {
    **{
        f"softmax{n}": (
            lambda v: op.nn.softmax(v, -1),
            [seeded(3, n, scale=4)],
            lambda x: _softmax(x, -1),
        )
        for n in (1, 3, 7, 8, 9, 31, 33, 127)
    },
    "softmax-large": (
        lambda v: op.nn.softmax(v, -1),
        [seeded(2, 3, 10, scale=60)],
        lambda x: _softmax(x, -1),
    ),
    "softmax-vector": (lambda v: op.nn.softmax(v), [seeded(13)], lambda x: _softmax(x, -1)),
    "softmax-outer": (lambda v: op.nn.softmax(v, 1), [seeded(2, 9, 5)], lambda x: _softmax(x, 1)),
    **{
        f"log-softmax{n}": (
            lambda v: op.nn.log_softmax(v, -1),
            [seeded(3, n, scale=4)],
            lambda x: _log_softmax(x, -1),
        )
        for n in (1, 9, 33)
    },
}


def _sum_bound(x: np.ndarray, axis: Any, keepdims: bool = False) -> np.ndarray:
    magnitude = np.abs(x.astype(np.float64)).sum(axis, keepdims=keepdims)
    return np.asarray((x.size + 1) * U * magnitude)


IMAGE = seeded(2, 5, 7, 9)
OTHER = seeded(2, 5, 7, 9, seed=2)
INTS = np.random.default_rng(3).integers(-(2**31), 2**31, (5, 33), np.int64).astype(np.int32)
BYTES = np.random.default_rng(4).integers(-128, 128, (3, 47), np.int64).astype(np.int8)
PAIRS_OF = seeded(1, 3, 5, 9, 2)
TRIPLES_OF = np.random.default_rng(6).integers(-128, 128, (67, 3), np.int64).astype(np.int8)
FEW = seeded(3, 2)

GENERIC: dict[str, Row] = {
    **{
        f"add{n}": (op.add, [seeded(n), seeded(n, seed=2)], lambda a, b: (a + b, 0))
        for n in (1, 3, 8, 9, 33, 127)
    },
    "add-broadcast": (op.add, [IMAGE, seeded(7, 1)], lambda a, b: (a + b, 0)),
    "add-outer": (op.add, [seeded(9, 1), seeded(1, 11)], lambda a, b: (a + b, 0)),
    "square-and-add": (
        lambda a, b: op.add(op.multiply(a, a), b),
        [IMAGE, OTHER],
        lambda a, b: (a.astype(np.float64) ** 2 + b, 4 * U * (a**2 + np.abs(b))),
    ),
    "transpose": (
        lambda a: op.permute_dims(a, (0, 3, 1, 2)),
        [IMAGE],
        lambda a: (a.transpose(0, 3, 1, 2), 0),
    ),
    "transpose-and-itself": (
        lambda a: op.add(a, op.permute_dims(a)),
        [seeded(9, 9)],
        lambda a: (a + a.T, 0),
    ),
    "flip-and-itself": (
        lambda a: op.subtract(a, op.flip(a, 0)),
        [seeded(33)],
        lambda a: (a - a[::-1], 0),
    ),
    "pad": (
        lambda a: op.nn.pad(a, (0, 0, 1, 2, 0, 3, 0, 0), pad_value=2.5),
        [IMAGE],
        lambda a: (np.pad(a, ((0, 0), (1, 2), (0, 3), (0, 0)), constant_values=2.5), 0),
    ),
    "concat-inner": (
        lambda a, b: op.concat(relax.Tuple([a, b]), 3),
        [IMAGE, OTHER],
        lambda a, b: (np.concatenate([a, b], 3), 0),
    ),
    "slice-inner": (
        lambda a: op.strided_slice(a, [3], [1], [9], [3]),
        [IMAGE],
        lambda a: (a[..., 1:9:3], 0),
    ),
    **{
        f"pick-{first}-of-{a.shape[-1]}-{a.dtype}": (
            lambda a, first=first: op.strided_slice(a, [a.ty.ndim - 1], [first], [first + 1]),
            [a],
            lambda a, first=first: (a[..., first : first + 1], 0),
        )
        for a in (PAIRS_OF, PAIRS_OF[..., :1].repeat(5, -1), TRIPLES_OF, FEW)
        for first in (0, a.shape[-1] - 1)
    },
    "sum-inner": (lambda a: op.sum(a, -1), [IMAGE], lambda a: (wide_sum(a, -1), _sum_bound(a, -1))),
    "sum-outer": (lambda a: op.sum(a, 0), [IMAGE], lambda a: (wide_sum(a, 0), _sum_bound(a, 0))),
    "sum-all": (lambda a: op.sum(a), [IMAGE], lambda a: (wide_sum(a, None), _sum_bound(a, None))),
    "mean-middle": (
        lambda a: op.mean(a, [1, 2], keepdims=True),
        [IMAGE],
        lambda a: (
            a.astype(np.float64).mean((1, 2), keepdims=True),
            _sum_bound(a, (1, 2), True) / 35,
        ),
    ),
    "max-middle": (lambda a: op.max(a, 2), [IMAGE], lambda a: (a.max(2), 0)),
    "min-one-column": (lambda a: op.min(a, 1), [seeded(7, 1)], lambda a: (a.min(1), 0)),
    "normalize": (
        lambda a: op.divide(a, op.add(op.sum(op.abs(a), -1, keepdims=True), relax.const(1.0))),
        [IMAGE],
        lambda a: (
            a / (np.abs(a.astype(np.float64)).sum(-1, keepdims=True) + 1),
            14 * U * np.abs(a),
        ),
    ),
    "int32-multiply-add": (
        lambda a: op.add(op.multiply(a, a), a),
        [INTS],
        lambda a: (a * a + a, 0),
    ),
    "int8-clip": (lambda a: op.clip(a, -5, 17), [BYTES], lambda a: (np.clip(a, -5, 17), 0)),
    "int8-to-float": (
        lambda a: op.astype(a, "float32"),
        [BYTES],
        lambda a: (a.astype(np.float64), 0),
    ),
    "float-to-int8": (
        lambda a: op.astype(op.clip(a, -128, 127), "int8"),
        [seeded(5, 9, scale=100)],
        lambda a: (np.clip(a, -128, 127).astype(np.int8), 0),
    ),
    "compare": (op.less, [IMAGE, OTHER], lambda a, b: (a < b, 0)),
    "where": (
        lambda a, b: op.where(op.less(a, b), a, relax.const(7.0)),
        [IMAGE, OTHER],
        lambda a, b: (np.where(a < b, a, np.float32(7)), 0),
    ),
    "float64": (
        lambda a: op.multiply(a, a),
        [np.random.default_rng(5).normal(size=(3, 9))],
        lambda a: (a * a, 0),
    ),
    "reduce-then-pad": (
        lambda a: op.nn.pad(op.sum(a, 2), (0, 1, 0, 2), pad_value=2.5),
        [seeded(3, 5, 7)],
        lambda a: (np.pad(wide_sum(a, 2), ((0, 1), (0, 2)), constant_values=2.5), 40 * U),
    ),
    "reduce-then-pad-one": (
        lambda a: op.nn.pad(op.sum(a, 2), (0, 2, 0, 0)),
        [seeded(1, 5, 7)],
        lambda a: (np.pad(wide_sum(a, 2), ((0, 2), (0, 0))), 40 * U),
    ),
    "convolve-then-pad": (
        lambda a, w: op.nn.pad(op.nn.conv2d(a, w), (0, 0, 0, 0, 0, 1, 0, 2)),
        [seeded(1, 5, 3, 4), seeded(6, 5, 1, 1, seed=2)],
        lambda a, w: (
            np.pad(
                np.einsum("nchw,oc->nohw", a.astype("f8"), w[:, :, 0, 0].astype("f8")),
                ((0, 0), (0, 0), (0, 1), (0, 2)),
            ),
            40 * U,
        ),
    ),
    "int64": (
        lambda a: op.multiply(a, a),
        [np.arange(-9, 10) * (2**60 + 3)],
        lambda a: (a * a, 0),
    ),
}


def wide_sum(a: np.ndarray, axis: int | None) -> np.ndarray:
    return np.asarray(a.astype(np.float64).sum(axis))


def _bench() -> Bench:
    bench = Bench()
    for name, (make, inputs, reference) in {**SOFTMAX, **GENERIC}.items():
        with np.errstate(over="ignore"):
            expected, bound = reference(*inputs)
        bench.add(name, make, inputs, expected, bound)
    return bench


BENCH = _bench()
PAIRS = assignments(list(BENCH.cases))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(BENCH, PAIRS, tmp_path_factory.mktemp("generic"))


@pytest.mark.parametrize(("machine", "name"), PAIRS)
def test_matches_reference(fleet: Fleet, machine: str, name: str) -> None:
    fleet[machine].check(name)
    fleet[machine].check(name, in_place=True)


def test_one_element_at_a_time_may_overwrite_its_operands(fleet: Fleet) -> None:
    def offered(name: str) -> set[int]:
        (call,) = fleet["256"].calls(name)
        return {position for _, position in call.in_place}

    assert offered("add33") == {0, 1}
    assert offered("add-broadcast") == {0}
    assert offered("square-and-add") == {0, 1}
    assert offered("int8-clip") == {0}
    for name in ("transpose-and-itself", "flip-and-itself", "add-outer", "pad", "compare"):
        assert offered(name) == set(), name


@pytest.mark.parametrize("name", ["normalize", "mean-middle", "sum-inner", "softmax33"])
def test_no_full_size_temporary(fleet: Fleet, name: str) -> None:
    scratch = [item.size_bytes for call in fleet["256"].calls(name) for item in call.scratch]
    assert sum(scratch) < BENCH.cases[name].inputs[0].nbytes
