"""What is fused behind an anchor: bias, activation, residuals, clip, and where it may overwrite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tvm import relax

from tests.kernels.harness import Bench, Fleet, assignments
from tests.kernels.reference import conv2d, conv2d_bound, pool2d, unit_roundoff

op = relax.op
ULP = 2 * unit_roundoff(np.float32)
SHAPE = (2, 5, 7, 9)
SAME = (1, 1, 1, 1)


def seeded(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


BIAS = seeded((9,), 1)
SCALE = seeded((1, 1, 1, 9), 2)
WEIGHTS = {
    "conv": seeded((9, 9, 3, 3), 3),
    "pointwise": seeded((9, 9, 1, 1), 4),
    "depthwise": seeded((9, 1, 3, 3), 5),
    "dense": seeded((9, 9), 6),
}


def anchor(kind: str, x: Any) -> Any:
    """One anchor that keeps the shape of ``x``."""
    if kind == "pool":
        return op.nn.max_pool2d(x, [3, 3], [1, 1], [1, 1], layout="NHWC", out_layout="NHWC")
    weights = relax.const(WEIGHTS[kind])
    if kind == "dense":
        return op.matmul(x, weights)
    pad, groups = (0 if kind == "pointwise" else 1), (9 if kind == "depthwise" else 1)
    return op.nn.conv2d(x, weights, 1, pad, 1, groups, "NHWC", "OIHW", "NHWC")


def anchor_value(kind: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(exact value, error bound)."""
    if kind == "pool":
        return pool2d(x, "max", (3, 3), (1, 1), SAME), np.zeros(x.shape)
    w = WEIGHTS[kind]
    w = w.T[:, :, None, None] if kind == "dense" else w
    geometry: dict[str, Any] = {
        "padding": SAME if w.shape[2] == 3 else (0, 0, 0, 0),
        "groups": 9 if kind == "depthwise" else 1,
    }
    return conv2d(x, w, **geometry), conv2d_bound(x, w, **geometry)


# name -> (graph, reference, slope, number of other inputs, input positions that may be overwritten)
# Both functions take (anchor, x, other inputs...); the slope bounds how errors grow.
Epilogue = tuple[Callable[..., Any], Callable[..., np.ndarray], float, int, tuple[int, ...]]

EPILOGUES: dict[str, Epilogue] = {
    "bias": (lambda a, x: op.add(a, relax.const(BIAS)), lambda a, x: a + BIAS, 1, 0, ()),
    "relu": (lambda a, x: op.nn.relu(a), lambda a, x: np.maximum(a, 0), 1, 0, ()),
    "bias-relu": (
        lambda a, x: op.nn.relu(op.add(a, relax.const(BIAS))),
        lambda a, x: np.maximum(a + BIAS, 0),
        1,
        0,
        (),
    ),
    "bias-clip": (
        lambda a, x: op.clip(op.add(a, relax.const(BIAS)), 0, 6),
        lambda a, x: np.clip(a + BIAS, 0, 6),
        1,
        0,
        (),
    ),
    "scale-leaky": (
        lambda a, x: op.nn.leakyrelu(op.multiply(a, relax.const(SCALE)), 0.1),
        lambda a, x: np.where(a * SCALE > 0, 1, 0.1) * a * SCALE,
        float(np.abs(SCALE).max()),
        0,
        (),
    ),
    "sigmoid-twice": (
        lambda a, x: op.multiply(op.add(a, relax.const(BIAS)), op.sigmoid(a)),
        lambda a, x: (a + BIAS) / (1 + np.exp(-a)),
        40,  # |a + b| s'(a) + s(a) for |a| < 100
        0,
        (),
    ),
    "residual": (lambda a, x, r: op.add(a, r), lambda a, x, r: a + r, 1, 1, (1,)),
    "residual-left": (lambda a, x, r: op.subtract(r, a), lambda a, x, r: r - a, 1, 1, (1,)),
    "residual-bias-relu": (
        lambda a, x, r: op.nn.relu(op.add(op.add(a, relax.const(BIAS)), r)),
        lambda a, x, r: np.maximum(a + BIAS + r, 0),
        1,
        1,
        (1,),
    ),
    "residual-own-input": (lambda a, x: op.add(a, x), lambda a, x: a + x, 1, 0, ()),
    "residual-twice": (
        lambda a, x, r: op.add(op.add(a, r), op.nn.relu(r)),
        lambda a, x, r: a + r + np.maximum(r, 0),
        1,
        1,
        (1,),
    ),
    "residuals": (
        lambda a, x, r, s: op.add(op.nn.relu(op.add(a, r)), s),
        lambda a, x, r, s: np.maximum(a + r, 0) + s,
        1,
        2,
        (1, 2),
    ),
    "residual-and-own-input": (
        lambda a, x, r: op.add(op.add(a, r), x),
        lambda a, x, r: a + r + x,
        1,
        1,
        (1,),
    ),
}
KINDS = ("conv", "pointwise", "depthwise", "dense", "pool")
FAMILY = {"pointwise": "conv2d", "conv": "conv2d"}


def _add(bench: Bench, kind: str, name: str) -> None:
    graph, reference, slope, others, _ = EPILOGUES[name]
    x = seeded(SHAPE, 10)
    rest = [seeded(SHAPE, 11 + i) for i in range(others)]
    value, bound = anchor_value(kind, x)
    expected = reference(value, x.astype(np.float64), *rest)
    size = np.abs(value) + np.abs(x) + 2 * sum(map(np.abs, rest), np.zeros(SHAPE)) + 3
    bench.add(
        f"{kind}-{name}",
        lambda v, *r: graph(anchor(kind, v), v, *r),
        [x, *rest],
        expected,
        slope * (bound + 4 * ULP * size),
    )


def _per_channel_residual(bench: Bench) -> None:
    """A run-time operand that is broadcast must not be overwritten."""
    x, gate = seeded(SHAPE, 20), seeded((2, 1, 1, 9), 21)
    value, bound = anchor_value("conv", x)
    bench.add(
        "gate",
        lambda v, g: op.multiply(anchor("conv", v), g),
        [x, gate],
        value * gate,
        np.abs(gate) * (bound + ULP * np.abs(value)),
    )


def _flipped_residual(bench: Bench) -> None:
    """A residual that is read at other elements than the one that is written."""
    x, rest = seeded(SHAPE, 22), seeded(SHAPE, 23)
    value, bound = anchor_value("conv", x)
    bench.add(
        "flipped",
        lambda v, r: op.add(anchor("conv", v), op.flip(r, 3)),
        [x, rest],
        value + rest[..., ::-1],
        bound + 4 * ULP * (np.abs(value) + np.abs(rest[..., ::-1])),
    )


def _padded_exponential(bench: Bench) -> None:
    """exp below an if_then_else whose condition is the same for a whole vector of channels."""
    x, rest = seeded(SHAPE, 24), seeded((2, 3, 7, 9), 25)
    value, bound = anchor_value("conv", x)
    padded = np.pad(np.exp(rest.astype(np.float64)), ((0, 0), (1, 1), (0, 0), (0, 0)))
    bench.add(
        "padded-exp",
        lambda v, r: op.add(anchor("conv", v), op.nn.pad(op.exp(r), (0, 0, 1, 1, 0, 0, 0, 0))),
        [x, rest],
        value + padded,
        bound + 4 * ULP * (np.abs(value) + padded),
    )


def _transposed_result(bench: Bench) -> None:
    """An injective operator behind the anchor that moves elements."""
    x = seeded(SHAPE, 26)
    value, bound = anchor_value("conv", x)
    bench.add(
        "transposed-result",
        lambda v: op.permute_dims(op.nn.relu(anchor("conv", v)), (0, 3, 1, 2)),
        [x],
        np.maximum(value, 0).transpose(0, 3, 1, 2),
        bound.transpose(0, 3, 1, 2),
    )


def _integers(bench: Bench) -> None:
    """Accumulate in int32, shift, saturate to int8."""
    rng = np.random.default_rng(27)
    x = rng.integers(-100, 100, SHAPE, np.int32)
    w = rng.integers(-100, 100, (9, 9, 3, 3), np.int32)
    expected = np.clip(conv2d(x, w, padding=SAME) // 1024, -128, 127)

    def make(v: Any) -> Any:
        acc = op.nn.conv2d(v, relax.const(w), 1, 1, 1, 1, "NHWC", "OIHW", "NHWC")
        shifted = op.right_shift(acc, relax.const(np.int32(10)))
        return op.astype(op.clip(shifted, -128, 127), "int8")

    bench.add("requantized", make, [x], expected)


def _bench() -> Bench:
    bench = Bench()
    for kind in KINDS:
        for name in EPILOGUES:
            _add(bench, kind, name)
    for extra in (
        _per_channel_residual,
        _flipped_residual,
        _padded_exponential,
        _transposed_result,
        _integers,
    ):
        extra(bench)
    return bench


BENCH = _bench()
PAIRS = assignments(list(BENCH.cases))
FUSED = [(machine, name) for machine, name in PAIRS if name.split("-", 1)[0] in KINDS]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(BENCH, PAIRS, tmp_path_factory.mktemp("epilogue"))


@pytest.mark.parametrize(("machine", "name"), PAIRS)
def test_matches_reference(fleet: Fleet, machine: str, name: str) -> None:
    fleet[machine].check(name)
    fleet[machine].check(name, in_place=True)


@pytest.mark.parametrize(("machine", "name"), FUSED)
def test_is_one_kernel_without_temporaries(fleet: Fleet, machine: str, name: str) -> None:
    kind, epilogue = name.split("-", 1)
    assert fleet[machine].families(name) == [FAMILY.get(kind, kind)]
    (call,) = fleet[machine].calls(name)
    assert call.scratch == ()
    allowed = {f"{name}.in{i}" for i in EPILOGUES[epilogue][4]}
    assert {call.inputs[position] for _, position in call.in_place} == allowed


@pytest.mark.parametrize("name", ["gate", "flipped", "padded-exp", "transposed-result"])
def test_no_input_is_overwritten_that_is_read_elsewhere(fleet: Fleet, name: str) -> None:
    for call in fleet["256"].calls(name):
        assert not any(call.inputs[i].startswith(f"{name}.in") for _, i in call.in_place)
