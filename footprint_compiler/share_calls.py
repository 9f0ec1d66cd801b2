"""The calls of a program that threads share, and the kernels that compute parts of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from footprint_compiler.codegen.objects import LoweredKernel, lower_shared
from footprint_compiler.kernels.kernel import Kernel
from footprint_compiler.program import KernelCall, Program, Scratch
from footprint_compiler.streaming.parallel import with_threads

UNIFORM = ("conv2d", "conv2d_transpose", "dense", "depthwise", "matmul", "pool")
"""Families whose emitters fill a temporary wherever they read it, branch by branch."""


def share_calls(
    program: Program, kernels: Mapping[str, Kernel], lanes: int, threads: int, llvm: Any
) -> tuple[Program, dict[str, Kernel], dict[str, LoweredKernel]]:
    """Args:
        program: calls in their final order.
        kernels: by C symbol.
        lanes: elements of float32 that one instruction computes.
        threads: of an inference.
        llvm: TVM's target.

    Returns:
        The program, and by C symbol the kernels of its shared calls as emitted and lowered.
    """
    known: dict[str, LoweredKernel | None] = {}

    def cut(call: KernelCall, wanted: int) -> tuple[str, int, tuple[Scratch, ...]] | None:
        kernel, symbol = kernels[call.kernel], f"{call.kernel}p"
        if kernel.c is not None:
            return None
        if symbol not in known:
            uniform = kernel.family in UNIFORM
            known[symbol] = lower_shared(
                kernel.func, symbol, llvm, len(call.outputs), wanted, uniform
            )
        found = known[symbol]
        return None if found is None else (symbol, found.items, found.scratch)

    program = with_threads(program, lanes, threads, cut)
    used = {call.kernel for call in program.calls if call.shared is not None}
    lowered = {symbol: one for symbol, one in known.items() if one is not None and symbol in used}
    return program, {symbol: kernels[symbol[:-1]] for symbol in lowered}, lowered
