"""The solver of layouts finds what an exhaustive search finds."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footprint_compiler.passes.layout_solver import Choices, solve


def _random(seed: int, variables: int, tables: int, forbid: bool) -> Choices:
    rng = np.random.default_rng(seed)
    choices = Choices()
    for _ in range(variables):
        choices.variable(int(rng.integers(1, 4)))
    for _ in range(tables):
        scope = rng.choice(variables, size=min(variables, int(rng.integers(1, 4))), replace=False)
        costs = rng.integers(0, 6, size=[choices.sizes[v] for v in scope]).astype(float)
        if forbid:
            costs[rng.random(costs.shape) < 0.1] = np.inf
        choices.price([int(v) for v in scope], costs)
    return choices


def _cheapest(choices: Choices) -> float:
    return min(choices.cost(each) for each in product(*(range(n) for n in choices.sizes)))


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**20),
    variables=st.integers(1, 7),
    tables=st.integers(1, 14),
    forbid=st.booleans(),
    entries=st.sampled_from([1, 8, 1 << 16]),
)
def test_equals_exhaustive_search(
    seed: int, variables: int, tables: int, forbid: bool, entries: int
) -> None:
    """Also where tables are too small for elimination and variables are branched on."""
    choices = _random(seed, variables, tables, forbid)
    found = solve(choices, entries=entries, nodes=10**6)
    assert found.optimal
    assert found.cost == _cheapest(choices)
    assert found.cost == choices.cost(found.assignment)


def test_a_limit_on_nodes_gives_some_assignment_and_does_not_call_it_optimal() -> None:
    choices = _random(3, 7, 20, False)
    found = solve(choices, entries=1, nodes=1)
    assert not found.optimal
    assert found.cost == choices.cost(found.assignment) >= _cheapest(choices)
    assert found == solve(choices, entries=1, nodes=1)


@pytest.mark.parametrize("length", [1, 2, 400])
def test_a_chain_is_solved_whatever_its_length(length: int) -> None:
    """Alternating tastes against a price of 3 for each change: nobody moves, but the ends do."""
    choices = Choices()
    chain = [choices.variable(2) for _ in range(length)]
    for at, variable in enumerate(chain):
        choices.price([variable], np.array([0.0, 1.0] if at % 2 else [1.0, 0.0]))
    for one, other in pairwise(chain):
        choices.price([one, other], np.array([[0.0, 3.0], [3.0, 0.0]]))
    found = solve(choices)
    assert found.optimal
    assert found.cost == length // 2
    assert len(set(found.assignment)) == 1
