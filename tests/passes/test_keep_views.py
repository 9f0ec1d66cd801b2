"""Which slices, splits and concatenations only rename bytes: compared with NumPy's own views."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tvm import relax

from footprint_compiler.passes.keep_views import is_view, slice_offset, split_offsets

op = relax.op


def call_of(make: Any, *shapes: tuple[int, ...]) -> Any:
    builder = relax.BlockBuilder()
    params = [
        relax.Var(f"x{i}", relax.TensorType(shape, "float32")) for i, shape in enumerate(shapes)
    ]
    with builder.function("main", params):
        with builder.dataflow():
            output = builder.emit_output(builder.emit(make(*params)))
        builder.emit_func_output(output)
    return builder.get()["main"].body.blocks[0].bindings[0].value


@st.composite
def slices(draw: Any) -> tuple[tuple[int, ...], list[int], list[int], list[int], list[int]]:
    """shape, axes, begin, end, strides; bounds may be negative or beyond the end."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    axes = draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True))
    begin, end, strides = [], [], []
    for axis in axes:
        size = shape[axis]
        strides.append(draw(st.sampled_from([1, 1, 1, 2, 3, -1, -2])))
        begin.append(draw(st.integers(-size - 1, size + 1)))
        end.append(draw(st.integers(-size - 1, size + 1)))
    axes = [axis - len(shape) if draw(st.booleans()) else axis for axis in axes]
    return shape, axes, begin, end, strides


@given(slices())
def test_slice_is_a_view_exactly_when_numpy_gives_one_contiguous_run(
    case: tuple[tuple[int, ...], list[int], list[int], list[int], list[int]],
) -> None:
    shape, axes, begin, end, strides = case
    array = np.arange(prod(shape)).reshape(shape)
    index: list[Any] = [slice(None)] * len(shape)
    for axis, first, last, stride in zip(axes, begin, end, strides, strict=True):
        index[axis] = slice(first, last, stride)
    expected = array[tuple(index)]
    assume(expected.size > 0)
    call = call_of(lambda x: op.strided_slice(x, axes, begin, end, strides), shape)
    assume(tuple(int(e) for e in call.ty.shape) == expected.shape)
    values = expected.ravel()
    contiguous = np.array_equal(values, np.arange(values[0], values[0] + values.size))
    offset = slice_offset(call)
    assert is_view(call) == (offset is not None)
    if offset is not None:
        assert contiguous
        assert offset == values[0]
    elif contiguous:  # only a reversed or strided run of several elements may be missed
        steps = [s for a, s in zip(axes, strides, strict=True) if expected.shape[a] != 1]
        assert any(step != 1 for step in steps)


def test_the_property_meets_views_with_negative_bounds() -> None:
    call = call_of(lambda x: op.strided_slice(x, [0], [-2], [-1]), (5, 3))
    assert slice_offset(call) == 9
    call = call_of(lambda x: op.strided_slice(x, [0], [-1], [-2], [-1]), (5, 3))
    assert slice_offset(call) == 12
    call = call_of(lambda x: op.strided_slice(x, [0, 1], [2, 1], [3, 3], [1, 1]), (5, 3))
    assert slice_offset(call) == 7


@pytest.mark.parametrize(
    ("shape", "axes", "begin", "end", "strides"),
    [
        ((4, 3), [1], [0], [2], [1]),  # columns
        ((4, 3), [0], [0], [4], [2]),  # every other row
        ((4,), [0], [3], [-5], [-1]),  # reversed
        ((2, 4, 3), [1], [0], [2], [1]),  # a run in each of two blocks
    ],
)
def test_slice_declines(
    shape: tuple[int, ...], axes: list[int], begin: list[int], end: list[int], strides: list[int]
) -> None:
    call = call_of(lambda x: op.strided_slice(x, axes, begin, end, strides), shape)
    assert slice_offset(call) is None
    assert not is_view(call)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_split_and_concat_are_views_exactly_when_every_part_is_one_run(
    sizes: list[int], data: Any
) -> None:
    axis = data.draw(st.integers(-len(sizes), len(sizes) - 1))
    sizes[axis] += 1
    shape = tuple(sizes)
    array = np.arange(prod(shape)).reshape(shape)
    cut = data.draw(st.integers(1, shape[axis] - 1))
    parts = np.split(array, [cut], axis)
    runs = [np.array_equal(p.ravel(), np.arange(p.size) + p.ravel()[0]) for p in parts]
    split = call_of(lambda x: op.split(x, [cut], axis), shape)
    assert is_view(split) == all(runs)
    if is_view(split):
        assert split_offsets(split) == [int(part.ravel()[0]) for part in parts]
    concat = call_of(lambda a, b: op.concat([a, b], axis), *(part.shape for part in parts))
    assert is_view(concat) == all(runs)


def test_concat_of_a_tuple_variable_is_not_a_view() -> None:
    builder = relax.BlockBuilder()
    ty = relax.TensorType((1, 2), "float32")
    pair = relax.Var("pair", relax.TupleType([ty, ty]))
    with builder.function("main", [pair]):
        with builder.dataflow():
            output = builder.emit_output(builder.emit(op.concat(pair, 0)))
        builder.emit_func_output(output)
    assert not is_view(builder.get()["main"].body.blocks[0].bindings[0].value)
