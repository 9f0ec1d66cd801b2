"""Kernels that are calls of C functions, for cores that have such functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from footprint_compiler.kernels.c.float_kernels import float_dense, float_form, float_row_work
from footprint_compiler.kernels.c.kernel import CKernel
from footprint_compiler.kernels.c.units import c_kernel, row_windows
from footprint_compiler.kernels.conv import ConvShape
from footprint_compiler.kernels.decisions import deciding
from footprint_compiler.kernels.fused import Fused
from footprint_compiler.kernels.kernel import Kernel
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.kernels.row_emit import windows_by_row
from footprint_compiler.kernels.row_form import RowForm
from footprint_compiler.kernels.stored_weights import stored_of
from footprint_compiler.streaming.window import Window


def quantized_in_c(func: Any, machine: Machine, constant_params: frozenset[int]) -> Kernel | None:
    """A quantized operator as a C kernel, or None where TIR serves it."""
    c = c_kernel(func, machine.c_unit)
    if c is None or not constant_params.issuperset(c.constants):
        return None
    found = row_windows(func, machine.c_unit)
    return _in_c(lambda rings: c_kernel(func, machine.c_unit, rings), c, found)


def _in_c(
    generate: Callable[[Mapping[int, int]], CKernel | None],
    c: CKernel,
    rows: tuple[int, Mapping[int, Window], float] | None,
) -> Kernel:
    """A C kernel, with its row form where it has one: (rows, windows, work), as in ``RowForm``."""
    kernel = Kernel(None, c.family, in_place=c.in_place, macs=c.macs, c=c)
    if rows is None:
        return kernel
    height, windows, work = rows

    def emit(rings: Mapping[int, int]) -> Kernel:
        with deciding(None):
            row = generate(rings)
        assert row is not None  # what has a window has a kernel
        return replace(kernel, in_place=row.in_place, c=row)

    return replace(kernel, rows=RowForm(height, windows, emit, work))


def conv_in_c(
    fused: Fused, shape: ConvShape, machine: Machine, constant_params: frozenset[int]
) -> Kernel | None:
    """The convolution as a C kernel, or None where TIR serves it."""
    if not machine.c_float or stored_of(fused.attrs) is not None:
        return None
    form = float_form(fused, shape, machine.c_float, constant_params)
    c = form(None)
    if c is None:
        return None
    windows = windows_by_row(fused, shape)
    work = float_row_work(shape, machine.c_float)
    rows = None if windows is None else (shape.out_height, windows, work)
    return _in_c(form, c, rows)


def dense_in_c(
    fused: Fused, shape: ConvShape, machine: Machine, constant_params: frozenset[int]
) -> Kernel | None:
    """A float32 dense layer as a C kernel, or None where TIR serves it."""
    if not machine.c_float or stored_of(fused.attrs) is not None:
        return None
    c = float_dense(fused, shape, machine.c_float, constant_params)
    return None if c is None else _in_c(lambda _: None, c, None)
