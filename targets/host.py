"""The machine that fpc runs on: which CPU features it really has.

LLVM names the CPU, but a virtual machine or the operating system may hide features of it, so the
list of the kernel decides: what the CPU model has and ``/proc/cpuinfo`` lacks is switched off.
"""

from __future__ import annotations

import platform
from dataclasses import replace
from functools import cache
from pathlib import Path

from footprint_compiler.errors import TargetError
from footprint_compiler.targets.llvm import cpu_features
from footprint_compiler.targets.model import Target

CPUINFO = Path("/proc/cpuinfo")

#: LLVM feature -> flag in /proc/cpuinfo, for what a kernel or its library calls could use.
X86_FLAGS = {
    "cmov": "cmov",
    "cx16": "cx16",
    "sse3": "pni",
    "ssse3": "ssse3",
    "sse4.1": "sse4_1",
    "sse4.2": "sse4_2",
    "sse4a": "sse4a",
    "popcnt": "popcnt",
    "lzcnt": "abm",
    "movbe": "movbe",
    "bmi": "bmi1",
    "bmi2": "bmi2",
    "avx": "avx",
    "f16c": "f16c",
    "fma": "fma",
    "avx2": "avx2",
    "avxvnni": "avx_vnni",
    "avxvnniint8": "avx_vnni_int8",
    "avxvnniint16": "avx_vnni_int16",
    "avxifma": "avx_ifma",
    "avxneconvert": "avx_ne_convert",
    "avx512f": "avx512f",
    "avx512bw": "avx512bw",
    "avx512cd": "avx512cd",
    "avx512dq": "avx512dq",
    "avx512vl": "avx512vl",
    "avx512ifma": "avx512ifma",
    "avx512vbmi": "avx512vbmi",
    "avx512vbmi2": "avx512_vbmi2",
    "avx512vnni": "avx512_vnni",
    "avx512bitalg": "avx512_bitalg",
    "avx512vpopcntdq": "avx512_vpopcntdq",
    "avx512bf16": "avx512_bf16",
    "avx512fp16": "avx512_fp16",
    "avx512vp2intersect": "avx512_vp2intersect",
    "amx-tile": "amx_tile",
    "amx-int8": "amx_int8",
    "amx-bf16": "amx_bf16",
    "gfni": "gfni",
    "vaes": "vaes",
    "vpclmulqdq": "vpclmulqdq",
}
ARM64_FLAGS = {
    "neon": "asimd",
    "dotprod": "asimddp",
    "fullfp16": "asimdhp",
    "fp16fml": "asimdfhm",
    "rdm": "asimdrdm",
    "lse": "atomics",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "sve": "sve",
    "sve2": "sve2",
    "sme": "sme",
}

#: Machine name of Python -> (architecture in triples, LLVM feature -> kernel flag).
MACHINES = {
    "x86_64": ("x86_64", X86_FLAGS),
    "amd64": ("x86_64", X86_FLAGS),
    "aarch64": ("aarch64", ARM64_FLAGS),
    "arm64": ("aarch64", ARM64_FLAGS),
}


def host_architecture() -> str:
    """First part of the host's triple: ``x86_64``, ``aarch64``, or the machine's own name."""
    machine = platform.machine().lower()
    return MACHINES[machine][0] if machine in MACHINES else machine


@cache
def host_flags() -> frozenset[str]:
    """Flags of the first core in /proc/cpuinfo; empty when the system has no such file."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def missing_on_host(features: frozenset[str]) -> tuple[str, ...]:
    """Those LLVM features that this machine lacks, sorted; only what the kernel reports counts."""
    machine = platform.machine().lower()
    flags = host_flags()
    if machine not in MACHINES or not flags:
        return ()
    names = MACHINES[machine][1]
    return tuple(sorted(f for f in features if f in names and names[f] not in flags))


def native_mattr(features: frozenset[str]) -> list[str]:
    """Explicit ``mattr`` of this machine for a CPU model with these LLVM features, sorted."""
    names = MACHINES[platform.machine().lower()][1]
    missing = missing_on_host(features)
    return [f"{'-' if f in missing else '+'}{f}" for f in sorted(features) if f in names]


def resolve_native(target: Target, levels: tuple[Target, ...]) -> Target:
    """Fill in CPU, features, pools and limits of this machine.

    Args:
        target: ``native`` as in its file.
        levels: targets of this architecture, the most capable first; the first one whose
            features this machine has gives pools, limits and toolchain.

    Raises:
        TargetError: not Linux on x86-64 or arm64.
    """
    machine = platform.machine().lower()
    if platform.system() != "Linux" or machine not in MACHINES:
        raise TargetError(
            f"target native: {platform.system()} on {platform.machine()} is not supported",
            "Name a target, for example `--target arm64`; see `fpc targets`.",
        )
    from tvm.target import codegen

    mtriple = f"{MACHINES[machine][0]}-unknown-linux-gnu"
    mcpu = str(codegen.llvm_get_system_cpu())
    mattr = native_mattr(cpu_features(mtriple, mcpu))
    have = cpu_features(mtriple, mcpu, tuple(mattr))
    names = MACHINES[machine][1]
    for level in levels:
        asked = cpu_features(str(level.tvm["mtriple"]), str(level.tvm["mcpu"]))
        if all(feature in have for feature in asked if feature in names):
            break
    return replace(
        target,
        description=f"{target.description}: {mcpu}",
        tvm={"kind": "llvm", "mtriple": mtriple, "mcpu": mcpu, "mattr": mattr},
        pools=level.pools,
        toolchain=level.toolchain,
        limits=level.limits,
        roofline=None,
    )
