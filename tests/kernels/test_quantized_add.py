"""Sums of two quantized tensors: every pair of codes, with and without care for halves."""

from __future__ import annotations

import pytest

from tests.kernels.code_cases import code_bench
from tests.kernels.harness import Fleet, assignments

BENCH = code_bench()
PAIRS = assignments(list(BENCH.cases))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(BENCH, PAIRS, tmp_path_factory.mktemp("codes"))


@pytest.mark.parametrize(("machine", "name"), PAIRS)
def test_equals_the_definition(fleet: Fleet, machine: str, name: str) -> None:
    fleet[machine].check(name)
