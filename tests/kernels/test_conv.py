"""Convolutions of awkward sizes, on several register files, against a reference in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from tvm import relax

from footprint_compiler.kernels.decisions import Answers, deciding
from tests.kernels.harness import Bench, Fleet, assignments
from tests.kernels.reference import conv2d, conv2d_bound


@dataclass(frozen=True)
class Conv:
    x: tuple[int, int, int, int]
    out: int
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    dtype: str = "float32"
    family: str = "conv2d"


CHANNELS = (1, 3, 7, 8, 9, 31, 33, 127)
SAME = (1, 1, 1, 1)

CASES: dict[str, Conv] = {
    **{f"same{c}": Conv((1, 5, 7, c), c, padding=SAME) for c in CHANNELS},
    **{f"pointwise{c}": Conv((2, 3, 5, c), 9, (1, 1)) for c in CHANNELS},
    **{f"out{c}": Conv((1, 4, 5, 3), c, (2, 3)) for c in CHANNELS},
    **{
        f"depthwise{c}": Conv((1, 5, 7, c), c, padding=SAME, groups=c, family="depthwise")
        for c in CHANNELS
        if c > 1
    },
    "one-pixel": Conv((1, 1, 1, 5), 6, padding=SAME),
    "one-row": Conv((1, 1, 33, 4), 5, (1, 9), padding=(0, 4, 0, 4)),
    "one-column": Conv((1, 33, 1, 4), 5, (9, 1), padding=(4, 0, 4, 0)),
    "stride2": Conv((1, 9, 11, 5), 8, stride=(2, 2), padding=SAME),
    "stride2-even": Conv((1, 8, 10, 5), 8, stride=(2, 2), padding=(0, 0, 1, 1)),
    "stride3": Conv((1, 10, 13, 5), 8, stride=(3, 3), padding=SAME),
    "strides-differ": Conv((1, 10, 13, 5), 8, stride=(1, 3), padding=(1, 2, 0, 1)),
    "stride-over-kernel": Conv((1, 11, 11, 3), 8, (2, 2), stride=(3, 3), padding=SAME),
    **{
        f"pointwise-{c}-to-{o}": Conv((2, 3, 7, c), o, (1, 1))
        for c, o in ((8, 1), (16, 2), (48, 1), (12, 2), (64, 3))
    },
    "pointwise-stride2-to-one": Conv((1, 5, 7, 16), 1, (1, 1), stride=(2, 2)),
    "pointwise-padded-to-one": Conv((1, 3, 5, 16), 1, (1, 1), padding=SAME),
    "pointwise-stride2": Conv((2, 7, 9, 9), 17, (1, 1), stride=(2, 2)),
    "pointwise-padded": Conv((1, 4, 5, 9), 17, (1, 1), padding=(1, 2, 0, 1)),
    "pointwise-padded-stride3": Conv((1, 7, 8, 9), 7, (1, 1), stride=(3, 3), padding=SAME),
    "dilation2": Conv((1, 9, 11, 5), 8, dilation=(2, 2), padding=(2, 2, 2, 2)),
    "dilation3": Conv((1, 9, 11, 5), 8, dilation=(3, 3), padding=(3, 3, 3, 3)),
    "dilations-differ": Conv((1, 9, 20, 5), 8, dilation=(1, 3), padding=(0, 4, 1, 2)),
    "dilation-stride": Conv(
        (1, 12, 15, 5), 8, dilation=(2, 3), stride=(3, 2), padding=(1, 3, 2, 0)
    ),
    "asymmetric": Conv((1, 6, 7, 5), 8, padding=(0, 2, 1, 0)),
    "only-top-left": Conv((1, 6, 7, 5), 8, padding=(2, 2, 0, 0)),
    "only-bottom-right": Conv((1, 6, 7, 5), 8, padding=(0, 0, 2, 2)),
    "padding-over-reach": Conv((1, 4, 5, 3), 8, padding=(4, 5, 6, 7)),
    "padding-over-reach-stride": Conv((1, 4, 5, 3), 8, stride=(2, 3), padding=(5, 7, 7, 6)),
    "padding-over-reach-dilation": Conv(
        (1, 4, 5, 3), 8, (2, 2), dilation=(3, 2), padding=(6, 5, 7, 5)
    ),
    "padding-over-reach-pointwise": Conv((1, 3, 3, 5), 4, (1, 1), padding=(2, 1, 3, 2)),
    "kernel-over-image": Conv((1, 3, 2, 5), 8, (7, 5), padding=(3, 2, 3, 2)),
    "kernel-over-image-dilation": Conv((1, 2, 3, 5), 4, dilation=(4, 4), padding=(4, 4, 4, 4)),
    "kernel-over-image-once": Conv((1, 3, 2, 5), 8, (5, 5), padding=(1, 2, 1, 1)),
    "batch3": Conv((3, 5, 6, 4), 9, padding=SAME),
    "batch3-stride2": Conv((3, 5, 6, 4), 9, stride=(2, 2), padding=SAME),
    "groups2": Conv((1, 5, 7, 6), 10, padding=SAME, groups=2),
    "groups3-more-in": Conv((2, 5, 7, 27), 6, padding=SAME, groups=3),
    "groups3-more-out": Conv((1, 5, 7, 6), 33, padding=SAME, groups=3),
    "groups-one-out": Conv((1, 5, 7, 12), 4, padding=SAME, groups=4),
    "groups-pointwise": Conv((2, 4, 5, 16), 24, (1, 1), groups=8),
    "groups-stride-dilation": Conv(
        (1, 11, 9, 6), 9, stride=(2, 1), dilation=(1, 2), padding=(2, 0, 1, 3), groups=3
    ),
    "multiplier2": Conv((1, 5, 7, 9), 18, padding=SAME, groups=9),
    "multiplier3-stride2": Conv((2, 6, 7, 5), 15, stride=(2, 2), padding=SAME, groups=5),
    "multiplier-one-in": Conv((1, 6, 7, 1), 8, padding=SAME),
    "depthwise-batch": Conv((3, 5, 6, 9), 9, padding=SAME, groups=9, family="depthwise"),
    "depthwise-stride2": Conv(
        (1, 9, 8, 33), 33, stride=(2, 2), padding=(0, 0, 1, 1), groups=33, family="depthwise"
    ),
    "depthwise-dilation": Conv(
        (1, 9, 8, 9), 9, dilation=(3, 2), padding=(3, 2, 3, 2), groups=9, family="depthwise"
    ),
    "depthwise-over-reach": Conv(
        (1, 3, 4, 9), 9, stride=(2, 3), padding=(5, 6, 4, 7), groups=9, family="depthwise"
    ),
    "depthwise-over-image": Conv(
        (1, 2, 3, 9), 9, (7, 7), padding=(3, 3, 3, 3), groups=9, family="depthwise"
    ),
    "depthwise-wide": Conv(
        (1, 1, 40, 7), 7, (1, 9), padding=(0, 8, 0, 0), groups=7, family="depthwise"
    ),
    "int32": Conv((1, 5, 7, 9), 11, padding=SAME, dtype="int32"),
    "int32-depthwise": Conv(
        (1, 5, 7, 9), 9, padding=SAME, groups=9, dtype="int32", family="depthwise"
    ),
    "int64": Conv((1, 5, 7, 9), 11, padding=SAME, dtype="int64"),
    "float64": Conv((1, 5, 7, 9), 11, padding=SAME, dtype="float64"),
    "float64-depthwise": Conv(
        (1, 5, 7, 9), 9, padding=SAME, groups=9, dtype="float64", family="depthwise"
    ),
    "float16": Conv((1, 5, 7, 9), 11, padding=SAME, dtype="float16"),
    "float16-depthwise": Conv(
        (1, 5, 7, 9), 9, padding=SAME, groups=9, dtype="float16", family="depthwise"
    ),
}


def seeded(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    """Small numbers of either sign; integers over their whole range, so that products wrap."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "i":
        limit = np.iinfo(dtype)
        return rng.integers(limit.min, limit.max, shape, dtype, endpoint=True)
    return rng.normal(size=shape).astype(dtype)


def conv_expr(case: Conv, x: Any, w: np.ndarray) -> Any:
    return relax.op.nn.conv2d(
        x,
        relax.const(w, str(w.dtype)),
        case.stride,
        case.padding,
        case.dilation,
        case.groups,
        "NHWC",
        "OIHW",
        "NHWC",
    )


def _bench() -> Bench:
    bench = Bench()
    for seed, (name, case) in enumerate(CASES.items()):
        x = seeded(case.x, case.dtype, seed)
        group_in = case.x[3] // case.groups
        w = seeded((case.out, group_in, *case.kernel), case.dtype, seed + 1000)
        geometry: dict[str, Any] = {
            "stride": case.stride,
            "padding": case.padding,
            "dilation": case.dilation,
            "groups": case.groups,
        }
        with np.errstate(over="ignore"):
            expected = conv2d(x, w, **geometry)
        bound = conv2d_bound(x, w, **geometry) if x.dtype.kind == "f" else 0
        bench.add(name, lambda v, c=case, w=w: conv_expr(c, v, w), [x], expected, bound)
    return bench


PAIRS = assignments(list(CASES))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(_bench(), PAIRS, tmp_path_factory.mktemp("conv"))


@pytest.mark.parametrize(("machine", "name"), PAIRS)
def test_matches_reference_without_temporaries(fleet: Fleet, machine: str, name: str) -> None:
    with deciding(Answers({"algorithm": "direct"})):  # test_winograd.py has the other one
        built = fleet[machine]
    built.check(name)
    assert built.families(name) == [CASES[name].family]
    assert built.calls(name)[0].scratch == ()


def test_macs_are_counted_once(fleet: Fleet) -> None:
    (call,) = fleet["256"].calls("groups3-more-in")
    assert call.macs == 2 * 5 * 7 * 6 * 9 * 9
    (call,) = fleet["256"].calls("depthwise-stride2")
    assert call.macs == 4 * 4 * 33 * 9


def test_reference_agrees_with_a_direct_sum() -> None:
    """The reference itself, once, by the formula of the definition."""
    x, w = seeded((1, 5, 6, 4), "float64", 1), seeded((6, 2, 3, 2), "float64", 2)
    got = conv2d(x, w, (2, 1), (1, 0, 2, 1), (1, 2), 2)
    for (_, h, v, o), value in np.ndenumerate(got):
        total = 0.0
        for c, i, j in np.ndindex(2, 3, 2):
            row, column = h * 2 + i - 1, v + j * 2
            if 0 <= row < 5 and 0 <= column < 6:
                total += x[0, row, column, o // 3 * 2 + c] * w[o, c, i, j]
        assert value == pytest.approx(total, abs=1e-12)
