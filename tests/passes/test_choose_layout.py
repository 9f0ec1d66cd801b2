"""Layouts: no transpose survives that a neighbour can absorb, and no number changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm_ffi
from tvm import relax

from footprint_compiler.passes.choose_layout import ChooseLayout
from tests.passes.evaluate import count
from tests.passes.graphs import apply, assert_same_numbers, constant, module_of

op = relax.op
NCHW, NHWC = (1, 4, 5, 6), (1, 5, 6, 4)


def to_first(emit: Any, x: Any) -> Any:
    return emit(op.permute_dims(x, (0, 3, 1, 2)))


def to_last(emit: Any, x: Any) -> Any:
    return emit(op.permute_dims(x, (0, 2, 3, 1)))


def conv(emit: Any, x: Any, out: int = 4, channels: int = 4, groups: int = 1) -> Any:
    weights = constant(out, channels // groups, 3, 3)
    return emit(op.nn.conv2d(x, weights, padding=1, groups=groups))


def wrapped(emit: Any, x: Any, out: int = 4) -> Any:
    """A convolution as a channels-last framework exports it."""
    return to_last(emit, conv(emit, to_first(emit, x), out))


def test_structure_of_one_convolution() -> None:
    """NHWC in, transposes around, NHWC out: only the convolution is left."""
    weights = constant(4, 4, 3, 3)

    def before(emit: Any, x: Any) -> Any:
        y = emit(op.nn.conv2d(to_first(emit, x), weights, padding=[1, 2, 0, 1], strides=2))
        return to_last(emit, emit(op.nn.relu(y)))

    def expected(emit: Any, x: Any) -> Any:
        y = op.nn.conv2d(x, weights, [2, 2], [1, 2, 0, 1], [1, 1], 1, "NHWC", "OIHW", "NHWC")
        return emit(op.nn.relu(emit(y)))

    after, _ = apply(module_of([NHWC], before), ChooseLayout())
    wanted = module_of([NHWC], expected)["main"].body
    assert tvm_ffi.structural_equal(after["main"].body, wanted, map_free_vars=True)


def _chain(emit: Any, x: Any) -> Any:
    y = emit(op.nn.relu(wrapped(emit, x)))
    y = emit(op.add(wrapped(emit, y), constant(4)))
    return emit(op.clip(wrapped(emit, y), 0, 6))


def _residual(emit: Any, x: Any) -> Any:
    return emit(op.nn.relu(emit(op.add(wrapped(emit, wrapped(emit, x)), x))))


def _concat(emit: Any, x: Any) -> Any:
    parts = relax.Tuple([wrapped(emit, x, 3), x, wrapped(emit, x, 5)])
    y = emit(op.concat(parts, -1))
    weights = constant(2, 12, 1, 1)
    return to_last(emit, emit(op.nn.conv2d(to_first(emit, y), weights)))


def _concat_first(emit: Any, x: Any) -> Any:
    x = to_first(emit, x)
    y = emit(op.concat(relax.Tuple([conv(emit, x, 3), conv(emit, x, 5), x]), 1))
    return to_last(emit, conv(emit, y, 4, 12))


def _pools(emit: Any, x: Any) -> Any:
    y = emit(op.nn.max_pool2d(to_first(emit, x), [2, 2], [2, 2], ceil_mode=True))
    y = to_first(emit, wrapped(emit, to_last(emit, y)))
    return to_last(emit, emit(op.nn.avg_pool2d(y, [2, 2], [1, 1], [1, 0, 0, 1])))


def _pads(emit: Any, x: Any) -> Any:
    x = emit(op.nn.pad(x, [0, 0, 1, 2, 0, 1, 0, 0], pad_value=2.0))
    y = emit(op.nn.pad(to_first(emit, x), [0, 0, 0, 0, 1, 0, 2, 1]))
    y = emit(op.nn.conv2d(y, constant(4, 4, 3, 3)))
    y = emit(op.nn.pad(y, [0, 0, 1, 2, 1, 1, 0, 0], "reflect"))
    return to_last(emit, conv(emit, y, 4, 7))


def _mean_keepdims(emit: Any, x: Any) -> Any:
    y = conv(emit, to_first(emit, x))
    gate = emit(op.sigmoid(emit(op.mean(y, [2, 3], keepdims=True))))
    return to_last(emit, emit(op.multiply(y, gate)))


def _mean_dropped(emit: Any, x: Any) -> Any:
    y = emit(op.mean(conv(emit, to_first(emit, x)), [-1, -2]))
    return emit(op.matmul(y, constant(4, 3)))


def _other_reductions(emit: Any, x: Any) -> Any:
    y = conv(emit, to_first(emit, x))
    over_channels = emit(op.max(y, 1, keepdims=True))
    y = emit(op.subtract(y, over_channels))
    rows = emit(op.sum(y, 2))  # (N, C, W)
    return [to_last(emit, y), emit(op.permute_dims(rows, (0, 2, 1)))]


def _squeeze_excite(emit: Any, x: Any) -> Any:
    y = conv(emit, to_first(emit, x))
    small = emit(op.mean(y, [2, 3], keepdims=True))
    small = emit(op.nn.relu(emit(op.nn.conv2d(small, constant(2, 4, 1, 1)))))
    small = emit(op.sigmoid(emit(op.nn.conv2d(small, constant(4, 2, 1, 1)))))
    return to_last(emit, emit(op.multiply(small, y)))


def _broadcasts(emit: Any, x: Any) -> Any:
    y = conv(emit, to_first(emit, x))
    y = emit(op.add(y, constant(4, 1, 1)))
    y = emit(op.multiply(constant(5, 1), y))
    y = emit(op.maximum(y, constant(6)))
    y = emit(op.subtract(y, relax.const(np.float32(0.5))))
    return to_last(emit, y)


def _where(emit: Any, x: Any) -> Any:
    y = conv(emit, to_first(emit, x))
    small = emit(op.less(y, constant(4, 1, 1)))
    return to_last(emit, emit(op.where(small, y, constant(1, 4, 1, 6))))


def _flatten_dense(emit: Any, x: Any) -> Any:
    y = conv(emit, to_first(emit, x))
    flat = emit(op.reshape(y, (1, 120)))
    return emit(op.nn.relu(emit(op.matmul(flat, constant(120, 7)))))


def _flatten_two_dense(emit: Any, x: Any) -> Any:
    flat = emit(op.reshape(conv(emit, to_first(emit, x)), (1, 120)))
    return [emit(op.matmul(flat, constant(120, n, seed=n))) for n in (7, 3)]


def _conv1d_row(emit: Any, x: Any) -> Any:
    y = emit(op.permute_dims(x, (0, 2, 1)))
    y = emit(op.nn.conv1d(y, constant(5, 4, 3), padding=[2, 1], strides=2, dilation=2))
    y = emit(op.nn.relu(emit(op.add(y, constant(5, 1)))))
    y = emit(op.nn.conv1d(y, constant(5, 1, 3), padding=1, groups=5))
    return emit(op.permute_dims(y, (0, 2, 1)))


def _split_slice(emit: Any, x: Any) -> Any:
    y = conv(emit, to_first(emit, x), 16)
    first, second = (emit(relax.TupleGetItem(emit(op.split(y, 2, 1)), i)) for i in (0, 1))
    y = emit(op.concat(relax.Tuple([second, first]), 1))
    y = emit(op.strided_slice(y, [1, -1], [1, 0], [4, 6], [1, 2]))
    return to_last(emit, conv(emit, y, 4, 3))


def _softmax(emit: Any, x: Any) -> Any:
    y = conv(emit, to_first(emit, x))
    return to_last(emit, emit(op.nn.softmax(y, 1)))


def _quantized(emit: Any, x: Any) -> Any:
    y = conv(emit, to_first(emit, x))
    scale = relax.const(np.array([0.1, 0.2, 0.3, 0.4], np.float32))
    zero = relax.const(np.array([1, -2, 3, 0], np.int8), "int8")
    y = emit(op.quantize(y, scale, zero, 1, "int8"))
    return to_last(emit, emit(op.dequantize(y, scale, zero, 1, "float32")))


def _resized(emit: Any, x: Any) -> Any:
    y = conv(emit, to_first(emit, x))
    shape = relax.ShapeExpr((10, 18))
    y = op.image.resize2d(
        y,
        shape,
        layout="NCHW",
        method="nearest_neighbor",
        coordinate_transformation_mode="asymmetric",
    )
    return to_last(emit, conv(emit, emit(y)))


def _depthwise_blocks(emit: Any, x: Any) -> Any:
    for _ in range(2):
        y = conv(emit, to_first(emit, x), groups=4)
        y = emit(op.nn.relu(emit(op.add(y, constant(1, 4, 1, 1)))))
        x = to_last(emit, emit(op.nn.conv2d(y, constant(4, 4, 1, 1))))
    return x


CLEAN: dict[str, tuple[tuple[int, ...], Any]] = {
    "chain": (NHWC, _chain),
    "residual": (NHWC, _residual),
    "concat": (NHWC, _concat),
    "concat-first": (NHWC, _concat_first),
    "pools": (NHWC, _pools),
    "pads": (NHWC, _pads),
    "mean-keepdims": (NHWC, _mean_keepdims),
    "mean-dropped": (NHWC, _mean_dropped),
    "other-reductions": (NHWC, _other_reductions),
    "squeeze-excite": (NHWC, _squeeze_excite),
    "broadcasts": (NHWC, _broadcasts),
    "where": (NHWC, _where),
    "flatten-dense": (NHWC, _flatten_dense),
    "flatten-two-dense": (NHWC, _flatten_two_dense),
    "conv1d": ((1, 9, 4), _conv1d_row),
    "split-slice": (NHWC, _split_slice),
    "softmax": (NHWC, _softmax),
    "quantized": (NHWC, _quantized),
    "resized": (NHWC, _resized),
    "depthwise-blocks": (NHWC, _depthwise_blocks),
}


@pytest.mark.parametrize(
    ("name", "batch"),
    [(name, 1) for name in CLEAN] + [(name, 2) for name in CLEAN if "flatten" not in name],
)
def test_no_transpose_survives(name: str, batch: int) -> None:
    shape, make = CLEAN[name]
    before = module_of([(batch, *shape[1:])], make)
    after, _ = apply(before, ChooseLayout())
    assert count(before, "permute_dims") > 0
    assert count(after, "permute_dims") == 0
    assert_same_numbers(before, after)


def _shuffle(emit: Any, x: Any) -> Any:
    """Channels of two groups interleaved, as ShuffleNet does, then half of them convolved."""
    y = conv(emit, to_first(emit, x), 16)
    y = emit(op.reshape(emit(y), (8, 2, 30)))
    y = emit(op.reshape(emit(op.permute_dims(y, (1, 0, 2))), (2, 1, 8, 5, 6)))
    half = emit(op.strided_slice(y, [0], [1], [2]))
    half = emit(op.reshape(half, (1, 8, 5, 6)))
    return to_last(emit, conv(emit, half, 4, 8))


def _taken(emit: Any, x: Any) -> Any:
    y = conv(emit, to_first(emit, x), 16)
    y = emit(op.take(y, relax.const(np.array([0, 2, 4, 5], np.int64)), 3, "clip"))
    y = emit(op.take(y, relax.const(np.int64(1)), 2, "clip"))
    return emit(op.permute_dims(y, (0, 2, 1)))


@pytest.mark.parametrize("make", [_shuffle, _taken])
def test_reshapes_and_takes_follow_the_bytes(make: Any) -> None:
    before = module_of([NHWC], make)
    after, _ = apply(before, ChooseLayout())
    assert count(after, "permute_dims") == 0
    assert_same_numbers(before, after)


def test_parts_that_are_views_in_the_order_of_the_model_stay_there() -> None:
    """Four channels: two changes of order are cheaper than taking every vector apart."""

    def make(emit: Any, x: Any) -> Any:
        y = conv(emit, to_first(emit, x))
        halves = [emit(relax.TupleGetItem(emit(op.split(y, 2, 1)), i)) for i in (0, 1)]
        for _ in range(3):
            halves = [emit(op.nn.pad(half, [0, 0, 0, 0, 0, 0, 1, 0])) for half in halves[::-1]]
        return to_last(emit, conv(emit, emit(op.concat(relax.Tuple(halves), 1))))

    before = module_of([NHWC], make)
    after, lines = apply(before, ChooseLayout(), explain="choose-layout")
    assert count(after, "permute_dims") == 2
    assert any("cheaper than another order" in line for line in lines)
    assert_same_numbers(before, after)


def test_transposes_only_at_the_border_of_a_channels_first_model() -> None:
    def make(emit: Any, x: Any) -> Any:
        y = emit(op.nn.relu(conv(emit, x)))
        y = emit(op.add(conv(emit, y), y))
        return emit(op.nn.max_pool2d(y, [2, 2]))

    before = module_of([NCHW], make)
    after, _ = apply(before, ChooseLayout())
    assert count(after, "permute_dims") == 2
    assert_same_numbers(before, after)


def test_a_transpose_of_unit_axes_is_a_reshape() -> None:
    def make(emit: Any, x: Any) -> Any:
        return conv(emit, x, 1, 1)

    before = module_of([(2, 1, 5, 6)], make)
    after, _ = apply(before, ChooseLayout())
    assert count(after, "permute_dims") == 0
    assert count(after, "reshape") == 2
    assert_same_numbers(before, after)


def test_one_transpose_serves_all_readers() -> None:
    def make(emit: Any, x: Any) -> Any:
        return [emit(op.nn.relu(conv(emit, x))), emit(op.nn.relu(conv(emit, x, 3)))]

    after, _ = apply(module_of([NCHW], make), ChooseLayout())
    assert count(after, "permute_dims") == 3


def _flat_output(emit: Any, x: Any) -> Any:
    flat = emit(op.reshape(conv(emit, x), (1, 120)))
    return [emit(op.matmul(flat, constant(120, 7))), flat]


def _flat_and_relu(emit: Any, x: Any) -> Any:
    flat = emit(op.reshape(conv(emit, x), (1, 120)))
    return [emit(op.matmul(flat, constant(120, 7))), emit(op.nn.relu(flat))]


def _flat_times_itself(emit: Any, x: Any) -> Any:
    flat = emit(op.reshape(conv(emit, x), (1, 120)))
    return emit(op.matmul(flat, emit(op.permute_dims(flat))))


def _flat_as_weights(emit: Any, x: Any) -> Any:
    flat = emit(op.reshape(conv(emit, x), (1, 120)))
    return emit(op.matmul(constant(3, 1), flat))


def _batched_weights(emit: Any, x: Any) -> Any:
    flat = emit(op.reshape(conv(emit, x), (1, 120)))
    return emit(op.matmul(flat, constant(2, 120, 7)))


def _weights_as_vector(emit: Any, x: Any) -> Any:
    flat = emit(op.reshape(conv(emit, x), (1, 120)))
    return emit(op.matmul(flat, constant(120)))


def _other_reshape(emit: Any, x: Any) -> Any:
    return emit(op.matmul(emit(op.reshape(conv(emit, x), (4, 30))), constant(30, 3)))


def _flat_twice_in_a_tuple(emit: Any, x: Any) -> Any:
    flat = emit(op.reshape(conv(emit, x), (1, 120)))
    return emit(op.concat(relax.Tuple([flat, emit(op.matmul(flat, constant(120, 7)))]), 1))


def _transposed_batch(emit: Any, x: Any) -> Any:
    y = emit(op.permute_dims(conv(emit, x), (1, 0, 2, 3)))
    return emit(op.matmul(emit(op.reshape(y, (4, 30))), constant(30, 3)))


KEPT = {
    "flat-output": _flat_output,
    "flat-and-relu": _flat_and_relu,
    "flat-times-itself": _flat_times_itself,
    "flat-as-weights": _flat_as_weights,
    "batched-weights": _batched_weights,
    "weights-as-vector": _weights_as_vector,
    "other-reshape": _other_reshape,
    "flat-twice-in-a-tuple": _flat_twice_in_a_tuple,
    "transposed-batch": _transposed_batch,
}


@pytest.mark.parametrize("name", KEPT)
def test_numbers_where_a_flatten_may_not_change_the_rows_of_weights(name: str) -> None:
    before = module_of([NCHW], KEPT[name])
    after, _ = apply(before, ChooseLayout())
    assert_same_numbers(before, after)


def test_layouts_that_are_not_channels_first_are_left_alone() -> None:
    def make(emit: Any, x: Any) -> Any:
        y = op.nn.conv2d(x, constant(4, 4, 3, 3), 1, 1, 1, 1, "NHWC", "OIHW", "NHWC")
        return emit(op.nn.max_pool2d(emit(y), [2, 2], layout="NHWC", out_layout="NHWC"))

    before = module_of([NHWC], make)
    after, _ = apply(before, ChooseLayout())
    assert tvm_ffi.structural_equal(before["main"].body, after["main"].body, map_free_vars=True)


def test_64_bit_constants_keep_their_dtype() -> None:
    def make(emit: Any, x: Any) -> Any:
        y = emit(op.permute_dims(x, (0, 2, 1)))
        y = emit(op.add(y, constant(3, 2, dtype="float64")))
        return emit(op.permute_dims(y, (0, 2, 1)))

    before = module_of([(1, 2, 3)], make, "float64")
    after, _ = apply(before, ChooseLayout())
    assert count(after, "permute_dims") == 0
    assert_same_numbers(before, after, 1e-15)
