"""What a tuning record is valid for: the computation, and the machine.

A workload is the fused TIR function by its structural hash (names do not count, shapes, dtypes and
attributes do) and the set of its parameters that are constants, whose shapes are part of the
function. A machine is the target's name, its CPU and its features: all three must be equal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import tvm_ffi

from footprint_compiler.kernels.c.source import render_source
from footprint_compiler.kernels.kernel import Kernel
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.targets import Target, target_features

_WORD = (1 << 64) - 1


@dataclass(frozen=True)
class MachineKey:
    """Which code a record is for; ``features`` are LLVM's, sorted, with a blank between."""

    target: str
    cpu: str
    features: str


def machine_key(target: Target) -> MachineKey:
    """The key of a target; that of ``native`` names the CPU that it was loaded on."""
    cpu = str(target.tvm.get("mcpu", "generic"))
    return MachineKey(target.name, cpu, " ".join(sorted(target_features(target))))


def structural_hash(func: Any) -> str:
    """Of a function without its symbol: 16 hexadecimal digits, the same in every process."""
    if func.attrs is not None and "global_symbol" in func.attrs:
        func = func.without_attr("global_symbol")
    return f"{tvm_ffi.structural_hash(func, map_free_vars=True) & _WORD:016x}"


def kernel_hash(kernel: Kernel) -> str:
    """Of what a kernel compiles from: its TIR, or its C source; 16 hexadecimal digits."""
    if kernel.c is None:
        return structural_hash(kernel.func)
    return sha256(render_source({"kernel": kernel.c}).encode()).hexdigest()[:16]


def workload_key(func: Any, constants: Iterable[int], machine: Machine) -> str:
    """Key of one kernel's computation.

    Args:
        func: fused function, parameters are buffers.
        constants: indices of the parameters that are compile-time constants.
        machine: as the generator gets it; it says whether weights may be -128, and which set of C
            kernels is in use.
    """
    marks = "".join("c" if i in set(constants) else "v" for i in range(len(func.params)))
    eight = any(str(param.dtype) == "int8" for param in func.params)
    narrow = "-narrow" if eight and not machine.full_range else ""
    unit = f"-{machine.c_unit}" if machine.c_unit else ""
    return f"{structural_hash(func)}-{marks}{narrow}{unit}"


def describe(func: Any, family: str) -> str:
    """For people: family, then each parameter's dtype and shape, the output last."""
    params = [f"{p.dtype}[{'x'.join(str(int(e)) for e in p.shape)}]" for p in func.params]
    return f"{family} {' '.join(params[:-1])} -> {params[-1]}"
