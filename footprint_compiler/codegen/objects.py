"""Structured TIR kernels -> one ELF object with a plain C ABI.

TVM's own last lowering step packs arguments into its runtime's calling convention. Here that step
is replaced: every buffer parameter becomes a raw pointer, and every large temporary becomes one
more pointer parameter, so that scratch is planned in the arena like everything else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx

from footprint_compiler.codegen.items import Items, take_items
from footprint_compiler.codegen.row_parameter import take_row
from footprint_compiler.codegen.wide_indices import widen_row_indices
from footprint_compiler.kernels.math_calls import expand_math, mark_math
from footprint_compiler.kernels.rescale import expand_rescale
from footprint_compiler.program import Scratch
from footprint_compiler.tensor import DTYPE_BYTES

STACK_LIMIT_BYTES = 256
"""Temporaries up to this size stay on the stack; register tiles have scope ``local``."""


_WRAPPING = (tirx.Mod, tirx.FloorMod, tirx.BitwiseAnd)
"""Remainders, and the masks that those by powers of two become."""


@dataclass(frozen=True)
class LoweredKernel:
    """One kernel in flat TIR whose parameters are pointers.

    Attributes:
        func: the ``PrimFunc``, parameters in the order inputs, outputs, scratch, and of a row
            kernel the row.
        scratch: one entry per trailing pointer parameter.
        items: of a kernel that threads share, whose last parameters are ``begin`` and ``end``.
    """

    func: Any
    scratch: tuple[Scratch, ...]
    items: int = 0


def _passes() -> list[Any]:
    return [
        s_tir.transform.CanonicalizeLoop(),
        s_tir.transform.LowerInitBlock(),
        s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
        s_tir.transform.ConvertBlocksToOpaque(),
        s_tir.transform.CompactBufferAllocation(),
        s_tir.transform.LowerMatchBuffer(),
        s_tir.transform.StmtSimplify(),
        s_tir.transform.LowerOpaqueBlock(),
        tirx.transform.FlattenBuffer(),
        tirx.transform.BF16ComputeLegalize(),
        tirx.transform.NarrowDataType(32),
        s_tir.transform.LoopPartition(),
        tirx.transform.VectorizeLoop(True),
        tirx.transform.StorageRewrite(),
        tirx.transform.UnrollLoop(),
        s_tir.transform.RenormalizeSplitPattern(),
        tirx.transform.StmtSimplify(),
        tirx.transform.RemoveNoOp(),
        s_tir.transform.RewriteUnsafeSelect(),
    ]


def _buffer_bytes(buffer: Any) -> int:
    dtype = str(buffer.dtype)
    lanes = 1
    if "x" in dtype:
        dtype, count = dtype.split("x")
        lanes = int(count)
    return prod(int(extent) for extent in buffer.shape) * DTYPE_BYTES[dtype] * lanes


def _pointer(name: str, buffer: Any) -> Any:
    dtype = str(buffer.dtype).split("x")[0]
    return tirx.Var(name, tvm.ir.PointerType(tvm.ir.PrimType(dtype)))


def _to_pointer_parameters(func: Any, items: Items | None = None) -> LoweredKernel:
    """Bind each buffer parameter to a raw pointer; lift large temporaries to parameters."""
    params, prefix = [], []
    for buffer in func.params:
        pointer = _pointer(f"{buffer.name}_ptr", buffer)
        params.append(pointer)
        prefix.append(tirx.DeclBuffer(buffer, data=pointer))
    lifted: list[Any] = []
    scratch: list[Scratch] = []

    def lift(stmt: Any) -> Any:
        size = _buffer_bytes(stmt.buffer)
        if stmt.buffer.scope() == "local" or size <= STACK_LIMIT_BYTES:
            return stmt
        pointer = _pointer(f"{stmt.buffer.name}_scratch", stmt.buffer)
        lifted.append(pointer)
        scratch.append(Scratch(size, 16))
        return tirx.DeclBuffer(stmt.buffer, data=pointer)

    if items is None:
        body, more = take_row(func, func.body)
    else:
        body, more = items.body, list(items.parameters)
    body = tvm_ffi.structural_map(body, (tirx.AllocBuffer, lift))
    for pointer in params:  # a view may start at any element
        align = DTYPE_BYTES[str(pointer.ty.element_type.dtype)]
        body = tirx.AttrStmt(pointer, "storage_alignment", align, body)
    attrs = dict(func.attrs.items()) if func.attrs else {}
    attrs["calling_conv"] = 0
    new = tirx.PrimFunc(
        params + lifted + more,
        tirx.SeqStmt([*prefix, body]),
        attrs=tvm.ir.make_node("ir.DictAttrs", **attrs),
    )
    return LoweredKernel(new, tuple(scratch), 0 if items is None else items.count)


def _has_rounding(target: Any) -> bool:
    """Whether the core has instructions that round a float to an integral float."""
    cpu = str(target.attrs.get("mcpu", ""))
    triple = str(target.attrs.get("mtriple", ""))
    if triple.startswith(("thumb", "arm")):
        return cpu in ("cortex-m7", "cortex-m33", "cortex-m55")
    if triple.startswith("riscv"):
        return False
    if triple.startswith("aarch64"):
        return True
    return cpu not in ("", "x86-64")


def lower_kernel(func: Any, symbol: str, target: Any) -> LoweredKernel:
    """Lower one structured ``PrimFunc`` to flat TIR with pointer parameters.

    Args:
        func: schedulable TIR; parameters are buffers, inputs first.
        symbol: C symbol.
        target: ``tvm.target.Target`` (kind llvm).
    """
    return _finished(_to_pointer_parameters(_flat(func, symbol, target)), symbol, target)


def lower_shared(
    func: Any, symbol: str, target: Any, outputs: int, wanted: int, uniform: bool
) -> LoweredKernel | None:
    """The same for a kernel that threads share; None where it cannot be cut: see ``take_items``.

    Its scratch is that of one thread.
    """
    flat = _flat(func, symbol, target)
    items = take_items(flat, outputs, wanted, uniform)
    if items is None:
        return None
    return _finished(_to_pointer_parameters(flat, items), symbol, target)


def _flat(func: Any, symbol: str, target: Any) -> Any:
    func = func.with_attr("global_symbol", symbol).with_attr("target", target)
    module = tvm.IRModule({symbol: func})
    with target, tvm.transform.PassContext(opt_level=3):
        return tvm.ir.transform.Sequential(_passes())(module)[symbol]


def _finished(lowered: LoweredKernel, symbol: str, target: Any) -> LoweredKernel:
    module = tvm.IRModule({symbol: widen_row_indices(lowered.func, target)})
    with target, tvm.transform.PassContext(opt_level=3):
        module = expand_rescale(module, target)
        module = mark_math(module, _has_rounding(target))
        module = tirx.transform.LowerIntrin()(module)
        module = expand_math(module)
    return replace(lowered, func=module[symbol])


def compile_objects(kernels: Mapping[str, LoweredKernel], target: Any) -> list[bytes]:
    """Compile lowered kernels into relocatable ELF objects.

    Kernels whose scalar indices wrap (``i % 4``) get an object of their own, without LLVM's loop
    vectorizer: version 22 takes consecutive values of a masked index for consecutive elements
    where the mask lies in an outer loop, and reads the wrong ones.

    Args:
        kernels: C symbol -> lowered kernel.
        target: ``tvm.target.Target``.

    Returns:
        Bytes of the object files; functions are ``void symbol(T *...)``.
    """
    wrapping = {name: kernel for name, kernel in kernels.items() if _index_wraps(kernel.func)}
    plain = {name: kernel for name, kernel in kernels.items() if name not in wrapping}
    scalar_target = tvm.target.Target({**_target_dict(target), "opt-level": 1})
    groups = [(plain, target), (wrapping, scalar_target)]
    return [compile_object(group, chosen) for group, chosen in groups if group]


def _target_dict(target: Any) -> dict[str, Any]:
    return {"kind": str(target.kind.name), **{str(k): v for k, v in target.attrs.items()}}


def _index_wraps(func: Any) -> bool:
    """Whether a scalar load or store has a remainder in its index."""
    found = False

    def search(node: Any) -> None:
        nonlocal found
        indices = node.indices
        if any(isinstance(at, tirx.Ramp) for at in indices):
            return

        def wraps(_: Any) -> None:
            nonlocal found
            found = True

        for at in indices:
            tvm_ffi.structural_walk(at, (_WRAPPING, wraps))

    tvm_ffi.structural_walk(func.body, ((tvm.ir.TensorLoad, tirx.BufferStore), search))
    return found


def compile_object(kernels: Mapping[str, LoweredKernel], target: Any) -> bytes:
    """Compile lowered kernels into one relocatable ELF object.

    Args:
        kernels: C symbol -> lowered kernel.
        target: ``tvm.target.Target``.

    Returns:
        Bytes of the object file; functions are ``void symbol(T *...)``.
    """
    module = tvm.IRModule({symbol: kernel.func for symbol, kernel in kernels.items()})
    with target:
        built = tvm.get_global_func("target.build.llvm")(module, target)
    return emitted(built, "o")


def emitted(built: Any, form: str) -> bytes:
    """What LLVM writes of a built module.

    It takes a path only, and ends the process where the disk is full. So the path is that of a file
    in memory where the system has such files.

    Args:
        built: result of ``target.build.llvm``.
        form: ``"o"`` for an object, ``"ll"`` for LLVM's own text.
    """
    if not hasattr(os, "memfd_create"):
        with TemporaryDirectory(prefix="fpc-") as folder:
            path = Path(folder) / f"kernels.{form}"
            built.write_to_file(str(path), form)
            return path.read_bytes()
    with open(os.memfd_create("kernels"), "rb") as memory:
        built.write_to_file(f"/proc/self/fd/{memory.fileno()}", form)
        return memory.read()
