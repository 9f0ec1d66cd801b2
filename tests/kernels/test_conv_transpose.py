"""Transposed convolutions against the scatter that defines them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from tvm import relax

from tests.kernels.harness import Bench, Fleet, assignments
from tests.kernels.reference import conv2d_transpose, unit_roundoff


@dataclass(frozen=True)
class Transposed:
    x: tuple[int, int, int, int]
    out: int
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (2, 2)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    output_padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


SAME = (1, 1, 1, 1)
CASES = {
    "plain": Transposed((1, 4, 5, 3), 8),
    "one-pixel": Transposed((1, 1, 1, 7), 9, padding=SAME),
    "stride1": Transposed((2, 4, 5, 3), 7, stride=(1, 1), padding=SAME),
    "stride3": Transposed((1, 3, 4, 9), 5, stride=(3, 3), padding=(1, 0, 0, 2)),
    "strides-differ": Transposed((1, 4, 5, 3), 33, stride=(1, 3), padding=(0, 1, 1, 0)),
    "stride-over-kernel": Transposed((1, 3, 4, 5), 8, (2, 2), stride=(3, 4)),
    "stride-over-kernel-padded": Transposed(
        (1, 3, 4, 5), 8, (1, 1), stride=(2, 3), padding=(0, 1, 1, 0), output_padding=(1, 2)
    ),
    "output-padding": Transposed((1, 4, 5, 3), 8, padding=SAME, output_padding=(1, 1)),
    "dilation2": Transposed((1, 4, 5, 3), 8, dilation=(2, 2), padding=(2, 1, 0, 1)),
    "dilation3-stride2": Transposed((1, 4, 5, 3), 8, dilation=(3, 3), padding=(3, 3, 2, 2)),
    "dilation2-stride3": Transposed((1, 4, 5, 3), 8, stride=(3, 3), dilation=(2, 2)),
    "dilation-equals-stride": Transposed((1, 5, 4, 3), 8, stride=(3, 2), dilation=(3, 2)),
    "padding-over-reach": Transposed((1, 6, 7, 3), 8, (2, 2), padding=(3, 4, 2, 3)),
    "groups2": Transposed((1, 4, 5, 6), 10, padding=SAME, groups=2),
    "depthwise": Transposed((1, 4, 5, 9), 9, (4, 4), padding=SAME, groups=9),
    "multiplier": Transposed((2, 3, 4, 5), 15, groups=5),
    "even": Transposed((1, 7, 5, 8), 8, (4, 2), padding=(1, 0, 1, 0)),
}


def reference(case: Transposed, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    return conv2d_transpose(
        x, w, case.stride, case.padding, case.output_padding, case.dilation, case.groups
    )


def _bench() -> Bench:
    bench = Bench()
    for seed, (name, case) in enumerate(CASES.items()):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=case.x).astype(np.float32)
        shape = (case.x[3], case.out // case.groups, *case.kernel)
        w = rng.normal(size=shape).astype(np.float32)
        terms = case.x[3] // case.groups * case.kernel[0] * case.kernel[1]
        bound = (terms + 1) * unit_roundoff(x.dtype) * reference(case, np.abs(x), np.abs(w))

        def make(v: relax.Expr, case: Transposed = case, w: np.ndarray = w) -> relax.Expr:
            return relax.op.nn.conv2d_transpose(
                v,
                relax.const(w),
                case.stride,
                case.padding,
                case.output_padding,
                case.dilation,
                case.groups,
                "NHWC",
                "IOHW",
                "NHWC",
            )

        bench.add(name, make, [x], reference(case, x, w), bound)
    return bench


PAIRS = assignments(list(CASES))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(_bench(), PAIRS, tmp_path_factory.mktemp("transposed"))


@pytest.mark.parametrize(("machine", "name"), PAIRS)
def test_matches_reference_without_temporaries(fleet: Fleet, machine: str, name: str) -> None:
    built = fleet[machine]
    built.check(name)
    assert built.families(name) == ["conv2d_transpose"]
    assert built.calls(name)[0].scratch == ()
