"""Products of 8-bit operands in 32-bit accumulators: equal to exact arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import relax

from tests.kernels.harness import Bench, Fleet, assignments
from tests.kernels.reference import conv2d, wide

op = relax.op


def _bytes(*shape: int, seed: int) -> np.ndarray:
    """All values, the extreme ones included, so that an 8-bit product would wrap."""
    values = np.random.default_rng(seed).integers(-128, 128, shape, np.int64).astype(np.int8)
    values.flat[: values.size // 3] = -128
    return values


def _conv(bench: Bench, name: str, channels: int, out: int, groups: int, stride: int) -> None:
    x = _bytes(2, 6, 7, channels, seed=channels)
    w = _bytes(out, channels // groups, 3, 3, seed=out + 100)
    weights = relax.const(w, "int8")
    expected = conv2d(x, w, (stride, stride), (1, 1, 1, 1), groups=groups)

    def make(v: Any) -> Any:
        layouts = ("NHWC", "OIHW", "NHWC")
        return op.nn.conv2d(v, weights, stride, 1, 1, groups, *layouts, out_dtype="int32")

    bench.add(name, make, [x], expected)


def _bench() -> Bench:
    bench = Bench()
    for channels in (1, 3, 9, 33):
        _conv(bench, f"conv{channels}", channels, 11, 1, 1)
    for channels in (3, 8, 31):
        _conv(bench, f"depthwise{channels}", channels, channels, channels, 2)
    _conv(bench, "grouped", 8, 12, 4, 1)
    for rows, depth, columns in ((1, 1, 1), (5, 33, 9), (4, 127, 40)):
        a, b = _bytes(rows, depth, seed=1), _bytes(depth, columns, seed=2)
        weights = relax.const(b, "int8")
        expected = wide(a) @ wide(b)
        size = f"{rows}x{depth}x{columns}"
        bench.add(f"dense-{size}", lambda v, w=weights: op.matmul(v, w, "int32"), [a], expected)
        bench.add(f"matmul-{size}", lambda v, w: op.matmul(v, w, "int32"), [a, b], expected)
    return bench


BENCH = _bench()
PAIRS = assignments(list(BENCH.cases))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(BENCH, PAIRS, tmp_path_factory.mktemp("integer"))


@pytest.mark.parametrize(("machine", "name"), PAIRS)
def test_equals_exact_arithmetic(fleet: Fleet, machine: str, name: str) -> None:
    fleet[machine].check(name)
