"""The averaging rules of ``lower-qdq``: pools and means."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from tvm import relax

from footprint_compiler.kernels.quantized import quantized_average, quantized_average_of_rest
from footprint_compiler.passes.qdq_graph import QdqGraph, Quantized, Target, call_te
from footprint_compiler.passes.qdq_scale import largest, requantization
from footprint_compiler.passes.rebuild import integers, shape_of, tensor_constant


def average_pool(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """An average pool; where windows count different numbers of elements, so do multipliers."""
    attrs = producer.attrs
    x = graph.activation(producer.args[0])
    pads = integers(attrs.padding)
    pads = pads * 4 if len(pads) == 1 else pads * 2 if len(pads) == 2 else pads
    if x is None:
        return graph.decline("its input is not one quantized tensor")
    if attrs.layout != "NHWC" or integers(attrs.dilation) != [1, 1]:
        return graph.decline("it has dilated windows")
    kernel, stride = integers(attrs.pool_size), integers(attrs.strides)
    out, source = list(shape_of(producer)), shape_of(producer.args[0])
    sizes = [source[i + 1] + pads[i] + pads[i + 2] for i in range(2)]
    inside = all((out[i + 1] - 1) * stride[i] + kernel[i] <= sizes[i] for i in range(2))
    geometry = kernel, stride, pads, out
    if inside and (attrs.count_include_pad or not any(pads)):
        return _of_one_size(graph, x, geometry, target, "average_int8")
    ends = (0, 0, source[1], source[2])
    if attrs.count_include_pad:
        ends = (-pads[0], -pads[1], source[1] + pads[2], source[2] + pads[3])
    counts = np.outer(np.arange(1, kernel[0] + 1), np.arange(1, kernel[1] + 1))
    scales = float(x.scale[0]) / (target.scale * counts)
    form = requantization(scales, float(prod(kernel)) * largest(x))
    if form is None:
        return graph.decline("its sums or its multiplier do not fit")
    mantissas = np.asarray(form.multiplier.mantissa, dtype=np.int32).reshape(counts.shape)
    return call_te(
        graph,
        quantized_average_of_rest,
        x.expr,
        tensor_constant(mantissas),
        *geometry,
        ends,
        int(x.zero_point[0]),
        form.scaling,
        target.output,
        pattern=4,
        name="average_int8",
    )


def mean(graph: QdqGraph, producer: Any, target: Target) -> Any:
    """A mean: the average of one window of (before, reduced, 1, after); axes apart are moved."""
    x = graph.activation(producer.args[0])
    if x is None:
        return graph.decline("its input is not one quantized tensor")
    shape, codes = shape_of(producer.args[0]), x.expr
    given = producer.attrs.axis
    axes = sorted(i % len(shape) for i in (integers(given) if given else range(len(shape))))
    if axes != list(range(axes[0], axes[-1] + 1)):
        kept = [axis for axis in range(len(shape)) if axis not in axes]
        codes = graph.rebuilder.emit(relax.op.permute_dims(codes, [*kept, *axes]))
        shape = tuple(shape[axis] for axis in (*kept, *axes))
        axes = list(range(len(kept), len(shape)))
    first, end = axes[0], axes[-1] + 1
    count = prod(shape[first:end])
    image = (prod(shape[:first]), count, 1, prod(shape[end:]))
    total = _of_one_size(
        graph,
        x,
        ([count, 1], [1, 1], [0, 0, 0, 0], [image[0], 1, 1, image[3]]),
        target,
        "mean_int8",
        graph.rebuilder.emit(relax.op.reshape(codes, image)),
    )
    if total is None:
        return None
    return relax.op.reshape(graph.rebuilder.emit(total), shape_of(producer))


def _of_one_size(
    graph: QdqGraph, x: Quantized, geometry: Any, target: Target, name: str, codes: Any = None
) -> Any:
    """Averages of ``codes`` (those of ``x`` if not given), all over equally many elements."""
    count = prod(geometry[0])
    form = requantization(float(x.scale[0]) / (target.scale * count), float(count) * largest(x))
    if form is None:
        return graph.decline("its sums or its multiplier do not fit")
    return call_te(
        graph,
        quantized_average,
        x.expr if codes is None else codes,
        *geometry,
        int(x.zero_point[0]),
        form.mantissa,
        form.scaling,
        target.output,
        pattern=4,
        name=name,
    )
