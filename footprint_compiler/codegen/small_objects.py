"""Lowered kernels compiled for little code: LLVM IR as TVM writes it, compiled by zig's Clang.

TVM's own pipeline has no level for size: it unrolls and shares nothing between loops. Clang gets
the IR before any optimization, with the attribute ``minsize`` on every function. The vectorizers
stay out: they would add code, and one of them is wrong (see ``compile_objects``).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tvm

from footprint_compiler.codegen.objects import LoweredKernel, emitted
from footprint_compiler.codegen.toolchain import find_toolchain

if TYPE_CHECKING:
    from footprint_compiler.targets import Target

_ATTRIBUTES = re.compile(r"^(attributes #\d+ = \{)", re.MULTILINE)


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
