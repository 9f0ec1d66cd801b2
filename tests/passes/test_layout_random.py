"""Random small graphs mean the same before and after the choice of layouts, whatever rules meet."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import relax

from footprint_compiler.passes.choose_layout import ChooseLayout
from footprint_compiler.passes.layout_rules import RULES
from tests.passes.graphs import apply, assert_same_numbers, constant, module_of

op = relax.op
Draw = Callable[[st.SearchStrategy[Any]], Any]


def shape_of(x: Any) -> tuple[int, ...]:
    return tuple(int(extent) for extent in x.ty.shape)


def _axis(draw: Draw, x: Any) -> int:
    rank = len(shape_of(x))
    return int(draw(st.integers(-rank, rank - 1)))


def _conv2d(draw: Draw, x: Any) -> Any:
    _, channels, height, width = shape_of(x)
    groups = draw(st.sampled_from([1, channels]))
    kernel = draw(st.sampled_from([1, 3]))
    pad = draw(st.integers(0, 2)) if min(height, width) >= kernel else 2
    weights = constant(2 * groups, channels // groups, kernel, kernel)
    return op.nn.conv2d(x, weights, draw(st.integers(1, 2)), pad, groups=groups)


def _conv2d_transpose(draw: Draw, x: Any) -> Any:
    weights = constant(shape_of(x)[1], 3, 2, 2)
    return op.nn.conv2d_transpose(x, weights, strides=draw(st.integers(1, 2)))


def _conv1d(draw: Draw, x: Any) -> Any:
    weights = constant(3, shape_of(x)[1], 2)
    return op.nn.conv1d(x, weights, padding=[1, draw(st.integers(0, 2))])


def _pool(draw: Draw, x: Any) -> Any:
    operator = draw(st.sampled_from([op.nn.max_pool2d, op.nn.avg_pool2d]))
    return operator(x, [2, 2], draw(st.integers(1, 2)), [1, 1])


def _resize(draw: Draw, x: Any) -> Any:
    _, _, height, width = shape_of(x)
    return op.image.resize2d(
        x,
        relax.ShapeExpr((height * 2, width)),
        layout="NCHW",
        method="nearest_neighbor",
        coordinate_transformation_mode="asymmetric",
    )


def _unary(draw: Draw, x: Any) -> Any:
    operator = draw(st.sampled_from([op.nn.relu, op.negative, op.tanh, op.abs]))
    return op.clip(x, -1, 2) if draw(st.booleans()) else operator(x)


def _with_constant(draw: Draw, x: Any) -> Any:
    shape = shape_of(x)
    kept = shape[draw(st.integers(0, len(shape))) :]
    other = constant(*(size if draw(st.booleans()) else 1 for size in kept))
    operator = draw(st.sampled_from([op.add, op.subtract, op.multiply, op.maximum]))
    return operator(x, other) if draw(st.booleans()) else operator(other, x)


def _with_part_of_itself(draw: Draw, x: Any) -> Any:
    """A run-time operand of the same rank or lower, broadcast."""
    axis = _axis(draw, x)
    small = op.sum(x, axis, keepdims=True)
    return op.subtract(small, x) if draw(st.booleans()) else op.add(x, small)


def _where(draw: Draw, x: Any) -> Any:
    return op.where(op.less(x, constant(shape_of(x)[-1])), x, relax.const(np.float32(2)))


def _permute(draw: Draw, x: Any) -> Any:
    return op.permute_dims(x, draw(st.permutations(range(len(shape_of(x))))))


def _concat(draw: Draw, x: Any) -> Any:
    parts = [x, op.negative(x), constant(*shape_of(x))]
    return op.concat(relax.Tuple(draw(st.permutations(parts))[:2]), _axis(draw, x))


def _split(draw: Draw, x: Any) -> Any:
    axis = _axis(draw, x)
    size = shape_of(x)[axis]
    if size == 1:
        return op.abs(x)
    cut = draw(st.integers(1, size - 1))
    return relax.TupleGetItem(op.split(x, [cut], axis), draw(st.integers(0, 1)))


def _slice(draw: Draw, x: Any) -> Any:
    axis = _axis(draw, x)
    begin = draw(st.integers(0, shape_of(x)[axis] - 1))
    return op.strided_slice(x, [axis], [begin], [shape_of(x)[axis]], [draw(st.integers(1, 2))])


def _take(draw: Draw, x: Any) -> Any:
    axis = _axis(draw, x)
    size = shape_of(x)[axis]
    row = draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=3))
    if draw(st.booleans()) and len(shape_of(x)) > 1:
        return op.take(x, relax.const(row[0], "int64"), axis, "clip")
    return op.take(x, relax.const(np.array(row, np.int64)), axis, "clip")


def _pad(draw: Draw, x: Any) -> Any:
    widths = [draw(st.integers(0, 1)) for _ in range(2 * len(shape_of(x)))]
    return op.nn.pad(x, widths, pad_value=draw(st.sampled_from([0.0, 1.5])))


def _reduce(draw: Draw, x: Any) -> Any:
    operator = draw(st.sampled_from([op.sum, op.mean, op.max, op.min]))
    rank = len(shape_of(x))
    axes = draw(st.lists(st.integers(0, rank - 1), min_size=1, max_size=2, unique=True))
    if draw(st.booleans()):
        axes = [axis - rank for axis in axes]
    return operator(x, axes, keepdims=draw(st.booleans()))


def _softmax(draw: Draw, x: Any) -> Any:
    operator = draw(st.sampled_from([op.nn.softmax, op.nn.log_softmax]))
    return operator(x, _axis(draw, x))


def _quantize(draw: Draw, x: Any) -> Any:
    axis = _axis(draw, x) % len(shape_of(x))
    size = shape_of(x)[axis]
    scale = relax.const(np.linspace(0.5, 1, size).astype(np.float32))
    zero = relax.const(np.arange(size, dtype=np.int8), "int8")
    q = op.quantize(x, scale, zero, axis, "int8")
    return op.dequantize(q, scale, zero, axis, "float32")


def _flatten(draw: Draw, x: Any) -> Any:
    batch, *rest = shape_of(x)
    return op.reshape(x, (batch, prod(rest)))


def _flatten_matmul(draw: Draw, x: Any) -> Any:
    return op.matmul(_flatten(draw, x), constant(prod(shape_of(x)[1:]), 3))


def _merge(draw: Draw, x: Any) -> Any:
    shape = list(shape_of(x))
    at = draw(st.integers(0, len(shape) - 2))
    return op.reshape(x, [*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :]])


def _matmul(draw: Draw, x: Any) -> Any:
    return op.matmul(x, constant(shape_of(x)[-1], 2))


# step -> least and largest rank of its operand
STEPS: dict[Callable[[Draw, Any], Any], tuple[int, int]] = {
    _conv2d: (4, 4),
    _conv2d_transpose: (4, 4),
    _conv1d: (3, 3),
    _pool: (4, 4),
    _resize: (4, 4),
    _unary: (1, 4),
    _with_constant: (1, 4),
    _with_part_of_itself: (1, 4),
    _where: (1, 4),
    _permute: (2, 4),
    _concat: (1, 4),
    _split: (1, 4),
    _slice: (1, 4),
    _take: (1, 4),
    _pad: (1, 4),
    _reduce: (3, 4),
    _softmax: (1, 4),
    _quantize: (2, 4),
    _flatten: (3, 4),
    _flatten_matmul: (3, 4),
    _merge: (2, 4),
    _matmul: (2, 4),
}
LIMIT = 4000
"""Elements beyond which a value is not used any more."""


@st.composite
def graphs(draw: Draw) -> Any:
    """Three values to start from, then three to five steps on any of the values so far."""
    shape = (draw(st.integers(1, 2)), *(draw(st.integers(1, 4)) for _ in range(3)))

    def make(emit: Any, x: Any) -> Any:
        first = emit(op.permute_dims(x, draw(st.permutations(range(4)))))
        values = [first, emit(_conv2d(draw, first)), emit(_merge(draw, first))]
        for _ in range(draw(st.integers(3, 5))):
            usable = [v for v in values if prod(shape_of(v)) <= LIMIT and len(shape_of(v)) > 0]
            x = draw(st.sampled_from(usable))
            rank = len(shape_of(x))
            step = draw(
                st.sampled_from([s for s, (low, high) in STEPS.items() if low <= rank <= high])
            )
            values.append(emit(step(draw, x)))
        return values[-2:]

    return module_of([shape], make)


def _record(applied: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Note each rule that carries a value on in the order in which it lies."""

    def recorded(rule: Any) -> Any:
        def call(layouter: Any, expr: Any, var: Any) -> Any:
            result = rule(layouter, expr, var)
            if result is not None:
                applied.add(rule.__name__)
            return result

        return call

    for name, rule in list(RULES.items()):
        monkeypatch.setitem(RULES, name, recorded(rule))


def test_random_graphs_keep_their_numbers_and_use_every_rule(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rules = {rule.__name__ for rule in RULES.values()}
    applied: set[str] = set()
    _record(applied, monkeypatch)

    @settings(max_examples=300)
    @given(graph=graphs())
    def check(graph: Any) -> None:
        after, _ = apply(graph, ChooseLayout())
        assert_same_numbers(graph, after)

    check()
    assert applied == rules, rules - applied
