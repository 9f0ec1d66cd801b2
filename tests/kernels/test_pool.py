"""Pooling against the definition, element by element."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from tvm import relax

from tests.kernels.harness import Bench, Fleet, assignments
from tests.kernels.reference import pool2d, unit_roundoff


@dataclass(frozen=True)
class Pool:
    x: tuple[int, int, int, int]
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (2, 2)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    ceil_mode: bool = False
    include_pad: bool = False
    kind: str = "avg"
    dtype: str = "float32"


SAME = (1, 1, 1, 1)
SHAPES: dict[str, dict[str, Any]] = {
    **{f"c{c}": {"x": (1, 5, 7, c), "padding": SAME} for c in (1, 3, 7, 8, 9, 31, 33)},
    "global": {"x": (2, 7, 5, 17), "kernel": (7, 5), "stride": (1, 1)},
    "one-pixel": {"x": (1, 1, 1, 9), "padding": SAME},
    "stride1": {"x": (1, 6, 7, 8), "stride": (1, 1), "padding": SAME},
    "stride3": {"x": (1, 11, 10, 8), "stride": (3, 3)},
    "kernel-over-image": {"x": (1, 2, 3, 8), "kernel": (5, 5), "padding": (2, 2, 2, 2)},
    "asymmetric": {"x": (2, 6, 7, 5), "padding": (0, 2, 1, 0)},
    "one-row": {"x": (1, 1, 30, 8), "kernel": (1, 4), "stride": (1, 3), "padding": (0, 1, 0, 2)},
    "ceil": {"x": (1, 6, 8, 5), "ceil_mode": True},
    "ceil-padded": {"x": (1, 8, 8, 9), "stride": (2, 4), "padding": SAME, "ceil_mode": True},
}
CASES = {
    **{f"avg-{name}": Pool(**keys) for name, keys in SHAPES.items()},
    **{f"avg-pad-{n}": Pool(**keys, include_pad=True) for n, keys in SHAPES.items()},
    **{f"max-{name}": Pool(**keys, kind="max") for name, keys in SHAPES.items()},
    "max-dilation": Pool((1, 9, 11, 9), dilation=(2, 3), padding=(2, 1, 0, 2), kind="max"),
    "max-int32": Pool((1, 5, 7, 9), padding=SAME, kind="max", dtype="int32"),
    "max-int8": Pool((1, 5, 7, 33), padding=SAME, kind="max", dtype="int8"),
    "max-uint8": Pool((1, 5, 7, 33), padding=SAME, kind="max", dtype="uint8"),
    "max-float64": Pool((1, 5, 7, 9), padding=SAME, kind="max", dtype="float64"),
    "avg-float64": Pool((1, 5, 7, 9), padding=SAME, dtype="float64"),
}


def _expr(case: Pool, x: Any) -> Any:
    operator = relax.op.nn.max_pool2d if case.kind == "max" else relax.op.nn.avg_pool2d
    return operator(
        x,
        case.kernel,
        case.stride,
        case.padding,
        case.dilation,
        case.ceil_mode,
        case.include_pad,
        "NHWC",
        "NHWC",
    )


def _reference(case: Pool, x: np.ndarray) -> np.ndarray:
    return pool2d(
        x,
        case.kind,
        case.kernel,
        case.stride,
        case.padding,
        case.dilation,
        case.ceil_mode,
        case.include_pad,
    )


def _bench() -> Bench:
    bench = Bench()
    for seed, (name, case) in enumerate(CASES.items()):
        rng = np.random.default_rng(seed)
        x = (rng.normal(size=case.x) * 40 - 50).astype(case.dtype)
        if case.dtype == "uint8":
            x = rng.integers(0, 256, case.x, np.uint8)
        bound: Any = 0
        if case.kind == "avg":  # a sum, and a division or a product with a rounded reciprocal
            terms = case.kernel[0] * case.kernel[1]
            bound = (terms + 2) * unit_roundoff(x.dtype) * _reference(case, np.abs(x))
        bench.add(name, lambda v, case=case: _expr(case, v), [x], _reference(case, x), bound)
    return bench


PAIRS = assignments(list(CASES))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(_bench(), PAIRS, tmp_path_factory.mktemp("pool"))


@pytest.mark.parametrize(("machine", "name"), PAIRS)
def test_matches_reference_without_temporaries(fleet: Fleet, machine: str, name: str) -> None:
    built = fleet[machine]
    built.check(name)
    assert built.families(name) == ["pool"]
    assert built.calls(name)[0].scratch == ()
