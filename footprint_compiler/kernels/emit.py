"""Choose and emit the kernel of one fused TIR function."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from tvm import tirx

from footprint_compiler.kernels.conv import ConvShape
from footprint_compiler.kernels.conv_rows import conv_rows
from footprint_compiler.kernels.conv_transpose import ConvTransposeEmitter
from footprint_compiler.kernels.decisions import tunable
from footprint_compiler.kernels.depthwise_int8 import DepthwiseEmitter
from footprint_compiler.kernels.dot_units import conv_emitter
from footprint_compiler.kernels.fused import Fused, take_apart
from footprint_compiler.kernels.generic import schedule_generic
from footprint_compiler.kernels.in_c import conv_in_c, dense_in_c, quantized_in_c
from footprint_compiler.kernels.kernel import Kernel, Repack
from footprint_compiler.kernels.language import in_chosen_language
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.kernels.matmul import emit_matmul
from footprint_compiler.kernels.row_emit import with_elementwise_rows, with_rows
from footprint_compiler.kernels.stored_weights import StoredConvEmitter, stored_of
from footprint_compiler.kernels.tir import FAMILY, index, prim_func, seq, unravel
from footprint_compiler.kernels.window import WindowEmitter


@tunable
def emit_kernel(func: Any, machine: Machine, constant_params: frozenset[int]) -> Kernel:
    """The best kernel known for ``func``.

    Args:
        func: fused structured TIR; inputs first, one output last.
        machine: vector unit of the target.
        constant_params: indices of parameters that are compile-time constants.
    """
    in_c = quantized_in_c(func, machine, constant_params)
    return in_chosen_language(in_c, lambda: _in_tir(func, machine, constant_params))


def _in_tir(func: Any, machine: Machine, constant_params: frozenset[int]) -> Kernel:
    fused = take_apart(func)
    if fused is not None:
        emitter = _EMITTERS.get(fused.kind)
        kernel = emitter(fused, machine, constant_params) if emitter else None
        if kernel is not None:
            return kernel
    scheduled = schedule_generic(func, machine)
    family = str(func.attrs[FAMILY]) if FAMILY in func.attrs else "generic"
    kernel = Kernel(scheduled.func, family, in_place=scheduled.in_place)
    return with_elementwise_rows(kernel, scheduled.rows)


def _in_place(fused: Fused) -> tuple[int, ...]:
    size = prod(int(e) for e in fused.output.shape)
    return tuple(
        fused.position(buffer)
        for buffer in fused.epilogue_reads()
        if prod(int(e) for e in buffer.shape) == size and buffer.dtype == fused.output.dtype
    )


def _attrs(fused: Fused) -> dict[str, Any]:
    """Pointers may be equal where the output may take over an input."""
    return {"tirx.noalias": not _in_place(fused)}


def _replace(fused: Fused, position: int, buffer: Any) -> list[Any]:
    return [buffer if i == position else param for i, param in enumerate(fused.params)]


def _flat(name: str, elements: int, dtype: str) -> Any:
    return tirx.decl_buffer((index(elements),), dtype, name=name)


def _zero_point(fused: Fused) -> int:
    return int(fused.attrs.get("zero_point", 0))


def _window_shape(fused: Fused, kernel: tuple[int, int], groups: int) -> ConvShape:
    """Sizes of an anchor that slides a window over its first operand (N, H, W, C)."""
    batch, height, width, channels = (int(e) for e in fused.operands[0].shape)
    _, out_height, out_width, out_channels = fused.out_shape
    attrs = fused.attrs
    return ConvShape(
        batch,
        height,
        width,
        channels,
        out_height,
        out_width,
        out_channels,
        kernel,
        tuple(attrs["stride"]),
        tuple(attrs["dilation"]),
        tuple(attrs["padding"]),
        groups,
    )


def _conv_shape(fused: Fused) -> ConvShape:
    """The same where the second operand (., ., KH, KW) holds the weights."""
    height, width = (int(e) for e in fused.operands[1].shape[2:])
    return _window_shape(fused, (height, width), int(fused.attrs["groups"]))


def _conv2d(fused: Fused, machine: Machine, constant_params: frozenset[int]) -> Kernel | None:
    if len(fused.operands) != 2:
        return None
    w = fused.operands[1]
    position = fused.position(w)
    if position not in constant_params or not _only_operand(fused, w):
        return None
    shape = _conv_shape(fused)
    return in_chosen_language(
        conv_in_c(fused, shape, machine, constant_params),
        lambda: _conv2d_in_tir(fused, shape, machine, position),
    )


def _conv2d_in_tir(fused: Fused, shape: ConvShape, machine: Machine, position: int) -> Kernel:
    x, w = fused.operands
    if shape.groups == shape.in_channels == shape.out_channels and shape.groups > 1:
        return _depthwise(fused, shape, machine, position)
    flat = shape.flattened()
    dtypes = (str(x.dtype), str(w.dtype), fused.accumulator)
    emitter, packed = _emitter(fused, flat, machine, dtypes)
    height, width = shape.out_height, shape.out_width

    def store(n: Any, h: Any, pixel: Any, channel: Any, value: Any) -> Any:
        if flat is shape:
            return fused.store([n, h, pixel, channel], value)
        image, rest = _divide(pixel, height * width, shape.batch)
        row, column = _divide(rest, width, height)
        return fused.store([image, row, column, channel], value)

    body = emitter.emit(x, packed, store)
    kernel = Kernel(
        prim_func(_replace(fused, position, packed), body, _attrs(fused)),
        "conv2d",
        {position: emitter.pack},
        _in_place(fused),
        shape.macs,
    )
    if stored_of(fused.attrs) is not None:
        return kernel  # one row at a time would expand all weights for each
    return conv_rows(kernel, fused, shape, machine, dtypes, position)


def _emitter(
    fused: Fused, shape: ConvShape, machine: Machine, dtypes: tuple[str, str, str]
) -> tuple[Any, Any]:
    """The emitter of a convolution and the buffer of its packed weights."""
    stored = stored_of(fused.attrs)
    if stored is None:
        twice = not _in_place(fused)
        emitter = conv_emitter(shape, machine, dtypes, _zero_point(fused), twice=twice)
        return emitter, _flat("packed", emitter.packed_elements, dtypes[1])
    given = (dtypes[0], dtypes[2])
    blocks = StoredConvEmitter(shape, machine, given, _zero_point(fused), stored)
    return blocks, _flat("packed", blocks.packed_elements, "uint8")


def _divide(value: Any, size: int, extent: int) -> tuple[Any, Any]:
    """(quotient, remainder) of an index below ``size * extent``."""
    if extent == 1:
        return index(0), value
    if size == 1:
        return value, index(0)
    return value // index(size), value % index(size)


def _only_operand(fused: Fused, buffer: Any) -> bool:
    """Whether nothing but the anchor reads ``buffer``."""
    return not fused.epilogue_touches(buffer)


def _depthwise(fused: Fused, shape: ConvShape, machine: Machine, position: int) -> Kernel:
    x, w = fused.operands
    elements, stored = prod(int(e) for e in w.shape), stored_of(fused.attrs)
    plain = stored is None
    special = plain and DepthwiseEmitter.suits(shape, machine, str(x.dtype), str(w.dtype))

    def emitter(row: Any = None) -> DepthwiseEmitter | WindowEmitter:
        if special:
            dtype, twice = str(x.dtype), not _in_place(fused)
            return DepthwiseEmitter(shape, machine, dtype, _zero_point(fused), row, twice)
        return WindowEmitter(
            shape,
            machine,
            str(x.dtype),
            fused.accumulator,
            tirx.const(0, fused.accumulator),
            lambda acc, value, weight: acc + value * weight,
            weighted=True,
            zero_point=_zero_point(fused),
            row=row,
        )

    packed = _flat("packed", emitter().packed_elements, str(w.dtype))

    def body(row: Any = None, weights: Any = packed) -> Any:
        return emitter(row).emit(
            x, weights, lambda n, h, column, c, value: fused.store([n, h, column, c], value)
        )

    def kernel(weights: Any, statement: Any, pack: Repack) -> Kernel:
        func = prim_func(_replace(fused, position, weights), statement, _attrs(fused))
        return Kernel(func, "depthwise", {position: pack}, _in_place(fused), shape.macs)

    if stored is None:
        return with_rows(kernel(packed, body(), emitter().pack), fused, shape, body)
    narrow, buffer = _flat("packed", stored.size(elements), "uint8"), stored.buffer(elements)
    expand = stored.expand(narrow, index(0), buffer, elements)
    statement = seq([tirx.AllocBuffer(buffer), expand, body(weights=buffer)])
    return kernel(narrow, statement, lambda w: stored.pack(emitter().pack(w)))


def _pool(fused: Fused, machine: Machine, constant_params: frozenset[int]) -> Kernel | None:
    (x,) = fused.operands
    shape = _window_shape(fused, tuple(fused.attrs["kernel"]), int(x.shape[3]))
    dtype = str(x.dtype)
    largest = fused.kind == "max_pool2d"

    def body(row: Any = None) -> Any:
        emitter = WindowEmitter(
            shape,
            machine,
            dtype,
            fused.accumulator,
            tirx.min_value(dtype) if largest else tirx.const(0, fused.accumulator),
            (lambda acc, value, _: tirx.max(acc, value))
            if largest
            else (lambda acc, value, _: acc + value),
            weighted=False,
            zero_point=_zero_point(fused),
            row=row,
        )
        return emitter.emit(
            x, None, lambda n, h, column, c, value: fused.store([n, h, column, c], value)
        )

    kernel = Kernel(prim_func(fused.params, body(), _attrs(fused)), "pool", {}, _in_place(fused))
    return with_rows(kernel, fused, shape, body)


def _matmul(fused: Fused, machine: Machine, constant_params: frozenset[int]) -> Kernel | None:
    if len(fused.operands) != 2:
        return None
    a, b = fused.operands
    if len(a.shape) < 2 or len(b.shape) < 2:
        return None
    position = fused.position(b)
    if len(b.shape) == 2 and position in constant_params and _only_operand(fused, b):
        return _dense(fused, machine, position, constant_params)
    body, macs = emit_matmul(fused, a, b, machine)
    func = prim_func(fused.params, body, _attrs(fused))
    return Kernel(func, "matmul", {}, _in_place(fused), macs)


def _dense(
    fused: Fused, machine: Machine, position: int, constant_params: frozenset[int]
) -> Kernel:
    """Constant weights (K, N): a pointwise convolution whose pixels are the rows."""
    depth, columns = (int(e) for e in fused.operands[1].shape)
    rows = prod(fused.out_shape[:-1])
    shape = ConvShape(1, 1, rows, depth, 1, rows, columns, (1, 1))
    return in_chosen_language(
        dense_in_c(fused, shape, machine, constant_params),
        lambda: _dense_in_tir(fused, shape, machine, position),
    )


def _dense_in_tir(fused: Fused, shape: ConvShape, machine: Machine, position: int) -> Kernel:
    a, b = fused.operands
    rows, depth, lead = shape.out_width, shape.in_channels, fused.out_shape[:-1]
    dtypes = (str(a.dtype), str(b.dtype), fused.accumulator)
    emitter, packed = _emitter(fused, shape, machine, dtypes)
    flat_a = tirx.decl_buffer((index(1), index(1), index(rows), index(depth)), a.dtype, name="rows")

    def store(_n: Any, _h: Any, row: Any, channel: Any, value: Any) -> Any:
        return fused.store([*unravel(row, lead), channel], value)

    body = emitter.emit(flat_a, packed, store)
    body = tirx.SeqStmt([tirx.DeclBuffer(flat_a, data=a.data), body])
    return Kernel(
        prim_func(_replace(fused, position, packed), body, _attrs(fused)),
        "dense",
        {position: lambda weights: emitter.pack(weights.T[:, :, None, None])},
        _in_place(fused),
        shape.macs,
    )


def _conv2d_transpose(
    fused: Fused, machine: Machine, constant_params: frozenset[int]
) -> Kernel | None:
    if len(fused.operands) != 2:
        return None
    x, w = fused.operands
    position = fused.position(w)
    if position not in constant_params or not _only_operand(fused, w):
        return None
    shape = _conv_shape(fused)
    emitter = ConvTransposeEmitter(
        shape, machine, str(x.dtype), fused.accumulator, _zero_point(fused)
    )
    packed = _flat("packed", emitter.packed_elements, str(w.dtype))
    body = emitter.emit(
        x, packed, lambda n, h, column, c, value: fused.store([n, h, column, c], value)
    )
    return Kernel(
        prim_func(_replace(fused, position, packed), body, _attrs(fused)),
        "conv2d_transpose",
        {position: emitter.pack},
        _in_place(fused),
        emitter.macs,
    )


_EMITTERS: dict[str, Callable[[Fused, Machine, frozenset[int]], Kernel | None]] = {
    "conv2d": _conv2d,
    "conv2d_transpose": _conv2d_transpose,
    "max_pool2d": _pool,
    "sum_pool2d": _pool,
    "matmul": _matmul,
}
