"""Concatenations are loops of plain copies: no element asks which part it belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
import tvm_ffi
from tvm import relax

from tests.kernels.harness import MACHINES, Bench, Built

op = relax.op
SIZES = (3, 1, 7, 4, 2)


def _joined(axis: int, parts: int, bench: Bench) -> None:
    rng = np.random.default_rng(parts)
    shape = [2, 5, 3, 6]
    arrays = []
    for size in SIZES[:parts]:
        shape[axis] = size
        arrays.append(rng.normal(size=shape).astype(np.float32))

    def make(*xs: Any) -> Any:
        return op.nn.relu(op.concat(relax.Tuple(list(xs)), axis))

    expected = np.maximum(np.concatenate(arrays, axis), 0).astype(np.float64)
    bench.add(f"axis{axis}-{parts}", make, arrays, expected)


def _padded(x: Any) -> Any:
    return op.nn.relu(op.nn.pad(x, [0, 0, 1, 2, 2, 1, 0, 0]))


def _ten(*xs: Any) -> Any:
    return op.concat(relax.Tuple(list(xs)), 1)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    bench = Bench()
    for axis in (1, 2, 3):
        for parts in (2, 3, 5):
            _joined(axis, parts, bench)
    image = np.random.default_rng(0).normal(size=(1, 4, 5, 3)).astype(np.float32)
    around = np.pad(image, [(0, 0), (1, 2), (2, 1), (0, 0)])
    bench.add("padded", _padded, [image], np.maximum(around, 0).astype(np.float64))
    rows = [np.full((2, 3), n, np.float32) for n in range(10)]
    bench.add("ten", _ten, rows, np.concatenate(rows, 1).astype(np.float64))
    folder: Path = tmp_path_factory.mktemp("segments")
    return bench.build(MACHINES["256"], folder)


def _conditions(built: Built, name: str) -> int:
    """Choices per element in the last kernel of a case."""
    found: list[Any] = []
    kernel = built.kernels[built.calls(name)[-1].kernel]
    tvm_ffi.structural_walk(kernel.func, (tvm.ir.Call, found.append))
    return sum(str(getattr(call.op, "name", "")).endswith("if_then_else") for call in found)


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize("parts", [2, 3, 5])
def test_parts_are_copied_one_after_the_other(built: Built, axis: int, parts: int) -> None:
    built.check(f"axis{axis}-{parts}")
    assert _conditions(built, f"axis{axis}-{parts}") == 0


@pytest.mark.parametrize("name", ["padded", "ten"])
def test_conditions_on_several_axes_and_too_many_parts_stay(built: Built, name: str) -> None:
    built.check(name)
    assert _conditions(built, name) > 0
