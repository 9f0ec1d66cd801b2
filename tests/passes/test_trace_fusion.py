"""Names of operators behind fused calls: shared functions, tuples, constants, concatenations."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax

from footprint_compiler.kernels.machine import Machine
from footprint_compiler.passes.base import PassContext, run_passes
from footprint_compiler.passes.pipeline import fuse_phase, legalize_phase
from footprint_compiler.passes.trace_fusion import trace_fusion
from tests.passes.graphs import constant, module_of

op = relax.op
SHAPE = (2, 5)


def names(shapes: list[tuple[int, ...]], make: Any) -> list[tuple[str, ...]]:
    """What each call of the fused graph stands for.

    ``make(bind, *inputs)``: ``bind(name, expression)`` binds a value to a variable of that name.
    """
    module = module_of(shapes, lambda _, *inputs: make(_bind, *inputs))
    single = run_passes(module, legalize_phase(Machine(256, 16)), PassContext(None))
    return trace_fusion(single, run_passes(single, fuse_phase(), PassContext(None)))


def _bind(name: str, expr: Any) -> Any:
    return relax.BlockBuilder.current().emit(expr, name_hint=name)


def _layer(bind: Any, number: int, x: Any, w: Any) -> Any:
    product = bind(f"product{number}_", op.matmul(x, w))
    return bind(f"relu{number}_", op.nn.relu(product))


def test_chain_is_one_call() -> None:
    def make(bind: Any, x: Any) -> Any:
        return _layer(bind, 1, x, constant(5, 5))

    assert names([SHAPE], make) == [("product1_", "relu1_")]


def test_identical_layers_share_a_function_and_keep_their_own_names() -> None:
    def make(bind: Any, x: Any) -> Any:
        for number in range(4):
            x = _layer(bind, number, x, constant(5, 5, seed=number))
        return x

    assert names([SHAPE], make) == [(f"product{i}_", f"relu{i}_") for i in range(4)]


def test_layers_that_differ_in_their_constant_only() -> None:
    """Both read the same input, so that nothing but the weights tells them apart."""

    def make(bind: Any, x: Any) -> Any:
        one = _layer(bind, 1, x, constant(5, 5, seed=1))
        two = _layer(bind, 2, x, constant(5, 5, seed=2))
        return bind("difference", op.subtract(two, one))

    found = names([SHAPE], make)
    assert sorted(name for group in found for name in group) == [
        "difference", "product1_", "product2_", "relu1_", "relu2_",
    ]  # fmt: skip
    for group in found:
        numbers = {name[len("product")] if "product" in name else name[4] for name in group
                   if name != "difference"}  # fmt: skip
        assert len(numbers) <= 1


def test_concatenations_of_different_length() -> None:
    """Each waits for its own: the first operand alone does not tell them apart."""

    def make(bind: Any, x: Any, y: Any) -> Any:
        three = bind("three", op.concat([x, y, x], 1))
        two = bind("two", op.concat([x, y], 1))
        after = bind("after_two", op.nn.relu(two))
        return bind("exp_three", op.exp(three)), bind("tanh_after", op.tanh(after))

    flat = {name for group in names([SHAPE, SHAPE], make) for name in group}
    assert {"after_two", "exp_three", "tanh_after"} <= flat


def test_parts_of_a_tuple() -> None:
    def make(bind: Any, x: Any) -> Any:
        parts = bind("parts", op.split(x, 2, 0))
        one = bind("first", relax.TupleGetItem(parts, 0))
        two = bind("second", relax.TupleGetItem(parts, 1))
        product = bind("product", op.matmul(one, constant(5, 3)))
        return bind("relu", op.nn.relu(product)), bind("exp", op.exp(two))

    found = names([SHAPE], make)
    assert ("product", "relu") in found
    assert ("exp",) in found


def test_views_between_calls() -> None:
    def make(bind: Any, x: Any) -> Any:
        one = _layer(bind, 1, x, constant(5, 5))
        flat = bind("flat", op.reshape(one, (1, 10)))
        return _layer(bind, 2, flat, constant(10, 4))

    assert names([SHAPE], make) == [("product1_", "relu1_"), ("product2_", "relu2_")]


def test_every_call_has_names_in_a_graph_with_branches() -> None:
    def make(bind: Any, x: Any) -> Any:
        rng = np.random.default_rng(0)
        values = [x]
        for number in range(12):
            one, two = (values[i] for i in rng.integers(0, len(values), 2))
            values.append(_layer(bind, number, bind(f"add{number}_", op.add(one, two)),
                                 constant(5, 5, seed=number)))  # fmt: skip
        return values[1:]

    found = names([SHAPE], make)
    assert all(found)
    flat = [name for group in found for name in group]
    assert sorted(flat) == sorted(
        f"{kind}{number}_" for kind in ("add", "product", "relu") for number in range(12)
    )
