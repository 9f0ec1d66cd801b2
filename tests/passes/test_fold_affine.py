"""Affine chains fold into the operator that feeds them, and only where that is exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm_ffi
from tvm import relax

from footprint_compiler.passes.fold_affine import FoldAffine
from tests.passes.evaluate import count, evaluate
from tests.passes.graphs import apply, assert_same_numbers, constant, module_of

op = relax.op
IMAGE = (2, 3, 5, 6)
ROUNDING = 5e-6
"""Folded constants are rounded to float32 once: a few parts in 10^7 for each of ten products."""


def ops(module: Any) -> int:
    bindings = [b for block in module["main"].body.blocks for b in block.bindings]
    return sum(isinstance(binding.value, relax.Call) for binding in bindings)


def vector(*values: float, rank: int = 4) -> Any:
    return relax.const(np.array(values, np.float32).reshape((1, -1) + (1,) * (rank - 2)))


def statistics(channels: int) -> list[Any]:
    rng = np.random.default_rng(3)
    gamma, beta, mean = (rng.normal(size=channels).astype(np.float32) for _ in range(3))
    variance = rng.uniform(0.5, 2, channels).astype(np.float32)
    return [relax.const(array) for array in (gamma, beta, mean, variance)]


def test_structure_of_a_folded_chain() -> None:
    """(conv(x, W) + b) * s - t = conv(x, s W) + (s b - t), with powers of two: exact."""
    weights = np.random.default_rng(1).normal(size=(2, 3, 3, 3)).astype(np.float32)
    factor = np.array([2, -4], np.float32)

    def before(emit: Any, x: Any) -> Any:
        y = emit(op.nn.conv2d(x, relax.const(weights)))
        y = emit(op.add(y, vector(1, 3)))
        y = emit(op.multiply(y, vector(*factor)))
        return emit(op.subtract(y, vector(0.5, 8)))

    def expected(emit: Any, x: Any) -> Any:
        folded = relax.const(weights * factor.reshape(2, 1, 1, 1))
        y = emit(op.nn.conv2d(x, folded))
        return emit(op.add(y, vector(1.5, -20)))

    after, _ = apply(module_of([IMAGE], before), FoldAffine())
    assert tvm_ffi.structural_equal(
        after["main"].body, module_of([IMAGE], expected)["main"].body, map_free_vars=True
    )


# name -> (shapes, graph, operators after the pass)
Graph = tuple[list[tuple[int, ...]], Any, int]


def _conv(emit: Any, x: Any, out: int = 4) -> Any:
    return emit(op.nn.conv2d(x, constant(out, 3, 3, 3), padding=1))


def _conv_bias_norm(emit: Any, x: Any) -> Any:
    y = emit(op.add(_conv(emit, x), constant(1, 4, 1, 1)))
    return emit(relax.TupleGetItem(emit(op.nn.batch_norm(y, *statistics(4), axis=1)), 0))


def _norm_without_scale(emit: Any, x: Any) -> Any:
    norm = op.nn.batch_norm(_conv(emit, x), *statistics(4), axis=1, center=False, scale=False)
    return emit(relax.TupleGetItem(emit(norm), 0))


def _norm_after_relu(emit: Any, x: Any) -> Any:
    y = emit(op.nn.relu(_conv(emit, x)))
    return emit(relax.TupleGetItem(emit(op.nn.batch_norm(y, *statistics(4), axis=1)), 0))


def _norm_of_input(emit: Any, x: Any) -> Any:
    return emit(relax.TupleGetItem(emit(op.nn.batch_norm(x, *statistics(3), axis=1)), 0))


def _norm_last_axis(emit: Any, x: Any) -> Any:
    norm = op.nn.batch_norm(_conv(emit, x), *statistics(6), axis=3)
    return emit(relax.TupleGetItem(emit(norm), 0))


def _grouped(emit: Any, x: Any) -> Any:
    y = emit(op.nn.conv2d(x, constant(6, 1, 3, 3), groups=3))
    return emit(op.add(emit(op.multiply(y, constant(1, 6, 1, 1))), constant(1, 6, 1, 1)))


def _conv1d(emit: Any, x: Any) -> Any:
    y = emit(op.nn.conv1d(x, constant(4, 3, 3)))
    return emit(op.multiply(emit(op.add(y, constant(4, 1))), constant(1, 4, 1)))


def _dense(emit: Any, x: Any) -> Any:
    y = emit(op.matmul(x, constant(6, 4)))
    return emit(op.multiply(emit(op.add(y, constant(4))), constant(4)))


def _constants_on_the_left(emit: Any, x: Any) -> Any:
    y = emit(op.subtract(constant(1, 4, 1, 1), _conv(emit, x)))
    return emit(
        op.multiply(relax.const(np.float32(3)), emit(op.add(relax.const(np.float32(1)), y)))
    )


def _divided(emit: Any, x: Any) -> Any:
    y = emit(op.divide(_conv(emit, x), constant(1, 4, 1, 1)))
    return emit(op.subtract(y, constant(4, 1, 1)))


def _used_twice(emit: Any, x: Any) -> Any:
    y = _conv(emit, x)
    z = emit(op.multiply(y, constant(1, 4, 1, 1)))
    return [y, z]


def _added_to_itself(emit: Any, x: Any) -> Any:
    y = emit(op.multiply(_conv(emit, x), constant(1, 4, 1, 1)))
    return emit(op.add(y, y))


def _without_linear(emit: Any, x: Any) -> Any:
    y = emit(op.subtract(x, constant(1, 3, 1, 1)))
    y = emit(op.divide(y, constant(1, 3, 1, 1)))
    return emit(op.add(emit(op.multiply(y, constant(3, 1, 1))), constant(1, 3, 1, 1)))


def _vector(emit: Any, x: Any) -> Any:
    return emit(op.add(emit(op.multiply(x, constant(5))), constant(5)))


def _scalar(emit: Any, x: Any) -> Any:
    return emit(op.add(emit(op.multiply(x, constant())), constant()))


FOLDED: dict[str, Graph] = {
    "conv-bias-norm": ([IMAGE], _conv_bias_norm, 2),
    "norm-without-scale": ([IMAGE], _norm_without_scale, 2),
    "norm-after-relu": ([IMAGE], _norm_after_relu, 4),
    "norm-of-input": ([IMAGE], _norm_of_input, 2),
    "norm-last-axis": ([IMAGE], _norm_last_axis, 3),
    "grouped": ([IMAGE], _grouped, 2),
    "conv1d": ([(2, 3, 9)], _conv1d, 2),
    "dense": ([(5, 6)], _dense, 2),
    "dense-batched": ([(2, 5, 6)], _dense, 2),
    "constants-on-the-left": ([IMAGE], _constants_on_the_left, 2),
    "divided": ([IMAGE], _divided, 2),
    "used-twice": ([IMAGE], _used_twice, 2),
    "added-to-itself": ([IMAGE], _added_to_itself, 2),
    "without-linear": ([IMAGE], _without_linear, 2),
    "vector": ([(5,)], _vector, 2),
    "scalar": ([()], _scalar, 2),
}


@pytest.mark.parametrize("name", FOLDED)
def test_folds_and_keeps_the_numbers(name: str) -> None:
    shapes, make, expected_ops = FOLDED[name]
    before = module_of(shapes, make)
    after, _ = apply(before, FoldAffine())
    assert ops(after) <= expected_ops
    assert count(after, "nn.batch_norm") == 0
    assert_same_numbers(before, after, ROUNDING)


def _run_time_weights(emit: Any, x: Any, w: Any) -> Any:
    return emit(op.multiply(emit(op.nn.conv2d(x, w)), constant(1, 4, 1, 1)))


def _run_time_scale(emit: Any, x: Any, s: Any) -> Any:
    return emit(op.multiply(_conv(emit, x), s))


def _along_another_axis(emit: Any, x: Any) -> Any:
    return emit(op.multiply(_conv(emit, x), constant(1, 1, 1, 6)))


def _broadcast_result(emit: Any, x: Any) -> Any:
    return emit(op.add(_conv(emit, x), constant(2, 4, 1, 1)))


def _constant_over_value(emit: Any, x: Any) -> Any:
    return emit(op.divide(constant(1, 4, 1, 1), _conv(emit, x)))


def _norm_with_run_time_mean(emit: Any, x: Any, mean: Any) -> Any:
    gamma, beta, _, variance = statistics(4)
    norm = op.nn.batch_norm(_conv(emit, x), gamma, beta, mean, variance, axis=1)
    return emit(relax.TupleGetItem(emit(norm), 0))


def _division_by_zero(emit: Any, x: Any) -> Any:
    return emit(op.divide(_conv(emit, x), vector(1, 2, 0, 4)))


DECLINED: dict[str, Graph] = {
    "run-time-weights": ([IMAGE, (4, 3, 3, 3)], _run_time_weights, 2),
    "run-time-scale": ([IMAGE, (1, 4, 1, 1)], _run_time_scale, 2),
    "along-another-axis": ([IMAGE], _along_another_axis, 2),
    "broadcast-result": ([(1, 3, 5, 6)], _broadcast_result, 2),
    "constant-over-value": ([IMAGE], _constant_over_value, 2),
    "norm-with-run-time-mean": ([IMAGE, (4,)], _norm_with_run_time_mean, 2),
    "division-by-zero": ([IMAGE], _division_by_zero, 2),
}


@pytest.mark.parametrize("name", DECLINED)
def test_declines(name: str) -> None:
    shapes, make, expected_ops = DECLINED[name]
    before = module_of(shapes, make)
    after, _ = apply(before, FoldAffine())
    assert ops(after) == expected_ops
    assert tvm_ffi.structural_equal(before["main"].body, after["main"].body, map_free_vars=True)


def test_integers_are_left_alone() -> None:
    def make(emit: Any, x: Any) -> Any:
        y = emit(op.multiply(x, relax.const(np.int32(3))))
        return emit(op.add(y, relax.const(np.int32(2**30))))

    before = module_of([(4,)], make, "int32")
    after, _ = apply(before, FoldAffine())
    assert tvm_ffi.structural_equal(before["main"].body, after["main"].body, map_free_vars=True)


@pytest.mark.parametrize("factor", [1e30, 1e-30])
def test_a_product_outside_the_range_of_float32_is_not_formed(factor: float) -> None:
    """(x * f) * f is right for many x although f * f is not a float32."""
    huge = relax.const(np.float32(factor))

    def make(emit: Any, x: Any) -> Any:
        return emit(op.multiply(emit(op.multiply(x, huge)), huge))

    before = module_of([(3,)], make)
    after, _ = apply(before, FoldAffine())
    x = np.array([1e-30, -1e-28, 1e-35] if factor > 1 else [1e30, -1e28, 1e35], np.float32)
    np.testing.assert_allclose(evaluate(after, [x])[0], evaluate(before, [x])[0], rtol=1e-5)


def test_float64_constants_keep_their_precision() -> None:
    def make(emit: Any, x: Any) -> Any:
        y = emit(op.nn.conv2d(x, constant(4, 3, 3, 3, dtype="float64")))
        return emit(op.multiply(y, constant(1, 4, 1, 1, dtype="float64")))

    before = module_of([IMAGE], make, "float64")
    after, _ = apply(before, FoldAffine())
    assert ops(after) == 1
    assert_same_numbers(before, after, 1e-14)
