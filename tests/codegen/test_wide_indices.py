"""Sums in the indices of row kernels have 64 bits where pointers do, and nowhere else."""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

from footprint_compiler.codegen.objects import lower_kernel
from footprint_compiler.kernels.anchors import conv2d_nhwc
from footprint_compiler.kernels.emit import emit_kernel
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.targets import load_target

MACHINE = Machine(256, 16)


def _kernel() -> Any:
    """3 x 3 over (1, 9, 7, 6) to five channels."""
    x = tvm.te.placeholder((1, 9, 7, 6), "float32", name="x")
    w = tvm.te.placeholder((5, 6, 3, 3), "float32", name="w")
    total = conv2d_nhwc(x, w, [1, 1], [1, 1, 1, 1], [1, 1], 1)
    func = tvm.te.create_prim_func([x, w, total])
    return emit_kernel(func, MACHINE, frozenset({1}))


def _widths(func: Any) -> set[str]:
    """Dtypes of the sums and products in the indices of loads and stores."""
    found: set[str] = set()

    def visit(node: Any) -> None:
        for at in node.indices:
            base = at.base if isinstance(at, tirx.Ramp) else at
            if isinstance(base, (tirx.Add, tirx.Sub, tirx.Mul)):
                found.add(str(base.ty.dtype))

    tvm_ffi.structural_walk(func.body, ((tvm.ir.TensorLoad, tirx.BufferStore), visit))
    return found


def _lowered(func: Any, target: str) -> set[str]:
    llvm = tvm.target.Target(dict(load_target(target).tvm))
    return _widths(lower_kernel(func, "k", llvm).func)


def test_row_kernels_have_wide_sums() -> None:
    kernel = _kernel()
    assert kernel.rows is not None
    row = kernel.rows.emit({0: 3}).func
    assert _lowered(row, "x86-64-v3") == {"int64"}
    assert _lowered(row, "cortex-a53") == {"int64"}


def test_narrow_pointers_and_whole_images_keep_narrow_sums() -> None:
    kernel = _kernel()
    assert kernel.rows is not None
    assert _lowered(kernel.rows.emit({0: 3}).func, "cortex-a7") == {"int32"}
    assert _lowered(kernel.func, "x86-64-v3") == {"int32"}
