"""Row forms of the anchors that slide a window over an image, with their epilogues."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from footprint_compiler.kernels.decisions import bound
from footprint_compiler.kernels.fused import Fused
from footprint_compiler.kernels.generic_rows import ElementwiseRows
from footprint_compiler.kernels.rings import row_kernel
from footprint_compiler.kernels.row_form import RowForm
from footprint_compiler.streaming.window import Window

if TYPE_CHECKING:
    from footprint_compiler.kernels.conv import ConvShape
    from footprint_compiler.kernels.kernel import Kernel


def with_rows(
    kernel: Kernel,
    fused: Fused,
    shape: ConvShape,
    body: Callable[[Any], Any],
    repack: Mapping[int, Any] | None = None,
    replaced: Mapping[int, Any] | None = None,
    work: float = 1.0,
) -> Kernel:
    """The kernel with a row form, where its images are single and higher than one row.

    Args:
        kernel: plain; its parameters are those of the row kernel too.
        fused: the anchor, whose first operand is the image, and its epilogue.
        shape: of the window.
        body: output row -> statement that computes it on the parameters of ``kernel``.
        repack: of the row kernel's constants where it differs from that of ``kernel``.
        replaced: parameter index -> the buffer that ``body`` uses in its place.
        work: as in ``RowForm``.
    """
    params = list(kernel.func.params)
    for position, buffer in (replaced or {}).items():
        params[position] = buffer
    height, windows = shape.out_height, windows_by_row(fused, shape)
    if windows is None:
        return kernel
    attrs = dict(kernel.func.attrs.items())

    def emit(rings: Mapping[int, int]) -> Kernel:
        func = row_kernel(params, body, height, windows, rings, attrs)
        packed = kernel.repack if repack is None else repack
        return replace(kernel, func=func, repack=packed, rows=None)

    return replace(kernel, rows=RowForm(height, windows, bound(emit), work))


def windows_by_row(fused: Fused, shape: ConvShape) -> dict[int, Window] | None:
    """Parameter index -> rows that it is read by; None where there is nothing to go by.

    Args:
        fused: the anchor, whose first operand is the image, and its epilogue.
        shape: of the window.
    """
    height = shape.out_height
    if shape.batch != 1 or height == 1 or len(fused.out_shape) != 4:
        return None
    windows = {
        position: Window(height)
        for position, param in enumerate(fused.params[:-1])
        if _same_image(param, fused.output)
        and any(param.same_as(buffer) for buffer in fused.epilogue_reads())
    }
    image = fused.operands[0]
    if not fused.epilogue_touches(image):
        windows[fused.position(image)] = window_of(shape)
    elif fused.reads_exactly(image) and shape.stride[0] == 1 and shape.in_height == height:
        windows[fused.position(image)] = _with_own_row(window_of(shape))
    return windows


def with_elementwise_rows(kernel: Kernel, rows: ElementwiseRows | None) -> Kernel:
    """The kernel with the row form of its elementwise block, if it has one."""
    if rows is None:
        return kernel
    emit = rows.emit
    form = RowForm(
        rows.height,
        rows.windows,
        bound(lambda rings: replace(kernel, func=emit(rings), rows=None)),
    )
    return replace(kernel, rows=form)


def window_of(shape: ConvShape) -> Window:
    """Rows of the image that an output row of ``shape`` reads."""
    span = (shape.kernel[0] - 1) * shape.dilation[0] + 1
    return Window(shape.in_height, shape.stride[0], shape.padding[0], span)


def _with_own_row(window: Window) -> Window:
    """The window and the row of the image that has the output row's number; stride 1."""
    return replace(window, span=window.before + max(window.span - window.before, 1))


def _same_image(param: Any, output: Any) -> bool:
    return _extents(param.shape) == _extents(output.shape)


def _extents(shape: Sequence[Any]) -> list[int]:
    return [int(extent) for extent in shape]
