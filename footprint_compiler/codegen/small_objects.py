"""Lowered kernels compiled for little code: LLVM IR as TVM writes it, compiled by zig's Clang.

TVM's own pipeline has no level for size: it unrolls and shares nothing between loops. Clang gets
the IR before any optimization, with the attribute ``minsize`` on every function. The vectorizers
stay out: they would add code, and one of them is wrong (see ``compile_objects``).

Where the kernel is a loop over single elements, vectors are what LLVM's vectorizer makes, and to do
without them can take 17 times the time (an error function of a tensor with AVX-512). So a kernel
without vectors of its own is compiled as usual where that takes at most ``MOST_GROWTH`` times the
code, which is the case where the loop has much to compute.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tvm
import tvm_ffi
from tvm import tirx

from footprint_compiler.codegen.elf_check import function_bytes
from footprint_compiler.codegen.objects import LoweredKernel, compile_objects, emitted
from footprint_compiler.codegen.toolchain import find_toolchain

if TYPE_CHECKING:
    from footprint_compiler.targets import Target

MOST_GROWTH = 1.5
"""Code of a vectorized kernel relative to the small one."""

_ATTRIBUTES = re.compile(r"^(attributes #\d+ = \{)", re.MULTILINE)


def compile_small_objects(kernels: Mapping[str, LoweredKernel], target: Target) -> list[bytes]:
    """Relocatable ELF objects of lowered kernels; arguments and errors as below."""
    fast = worth_vectors(kernels, target)
    rest = {symbol: one for symbol, one in kernels.items() if symbol not in fast}
    return [*compile_small_object(rest, target), *_as_usual(fast, target)]


def worth_vectors(kernels: Mapping[str, LoweredKernel], target: Target) -> dict[str, LoweredKernel]:
    """The kernels that are compiled as for speed: see the module."""
    if not target.limits.vector_bits or target.is_bare_metal:
        return {}
    plain = {symbol: one for symbol, one in kernels.items() if not _has_vectors(one.func)}
    small, usual = (
        function_bytes(objects)
        for objects in (compile_small_object(plain, target), _as_usual(plain, target))
    )
    return {
        symbol: one for symbol, one in plain.items() if usual[symbol] <= MOST_GROWTH * small[symbol]
    }


def _as_usual(kernels: Mapping[str, LoweredKernel], target: Target) -> list[bytes]:
    return compile_objects(kernels, tvm.target.Target(dict(target.tvm))) if kernels else []


def _has_vectors(func: Any) -> bool:
    """Whether a kernel loads or stores several elements at once."""
    found = False

    def search(_: Any) -> None:
        nonlocal found
        found = True

    tvm_ffi.structural_walk(func.body, (tirx.Ramp, search))
    return found


def compile_small_object(kernels: Mapping[str, LoweredKernel], target: Target) -> list[bytes]:
    """One relocatable ELF object of lowered kernels; none without kernels.

    Args:
        kernels: C symbol -> lowered kernel.
        target: the machine.

    Raises:
        ToolchainError: zig is missing or fails.
    """
    if not kernels:
        return []
    llvm = tvm.target.Target({**dict(target.tvm), "opt-level": 0})
    module = tvm.IRModule(
        {symbol: kernel.func.with_attr("target", llvm) for symbol, kernel in kernels.items()}
    )
    with llvm:
        built: Any = tvm.get_global_func("target.build.llvm")(module, llvm)
    with tempfile.TemporaryDirectory(prefix="fpc-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        text = emitted(built, "ll").decode()
        small = _ATTRIBUTES.sub(r"\1 minsize optsize nounwind", text)
        (folder / "kernels.ll").write_text(small, encoding="utf-8")
        return [find_toolchain(target, None, folder, small=True).compile_ir("kernels.ll")]
