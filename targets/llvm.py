"""Ask LLVM whether a CPU and its features exist: TVM accepts a misspelled ``mcpu`` silently.

Everything here imports TVM when called, and only then.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from typing import Any

from footprint_compiler.errors import TargetError
from footprint_compiler.targets.model import Target

#: First part of the LLVM triples that fpc generates code for. LLVM ends the process at some names
#: that only look like one of these.
ARCHITECTURES = (
    "x86_64",
    "aarch64",
    "armv7a",
    "thumbv6m",
    "thumbv7m",
    "thumbv7em",
    "thumbv8m.base",
    "thumbv8m.main",
    "thumbv8.1m.main",
    "riscv32",
)


def _tvm_target(mtriple: str, mcpu: str = "", mattr: tuple[str, ...] = ()) -> Any:
    import tvm

    config: dict[str, Any] = {"kind": "llvm", "mtriple": mtriple}
    if mcpu:
        config["mcpu"] = mcpu
    if mattr:
        config["mattr"] = list(mattr)
    return tvm.target.Target(config)


@cache
def list_cpus(mtriple: str) -> tuple[str, ...]:
    """Names of the CPUs that LLVM knows for a triple, sorted."""
    from tvm.target import codegen

    return tuple(sorted(map(str, codegen.llvm_get_cpu_archlist(_tvm_target(mtriple)))))


@cache
def cpu_features(mtriple: str, mcpu: str, mattr: tuple[str, ...] = ()) -> frozenset[str]:
    """LLVM features of a CPU after ``mattr``; unknown names in ``mattr`` have no effect."""
    from tvm.target import codegen

    return frozenset(map(str, codegen.llvm_get_cpu_features(_tvm_target(mtriple, mcpu, mattr))))


@cache
def list_features(mtriple: str) -> frozenset[str]:
    """Features that at least one CPU of the triple's architecture has."""
    return frozenset().union(*(cpu_features(mtriple, cpu) for cpu in list_cpus(mtriple)))


def target_features(target: Target) -> frozenset[str]:
    """LLVM features that code for ``target`` may use."""
    mattr = target.tvm.get("mattr", [])
    assert isinstance(mattr, list)
    return cpu_features(str(target.tvm["mtriple"]), str(target.tvm["mcpu"]), tuple(mattr))


def _suggest(name: str, known: frozenset[str] | tuple[str, ...]) -> str:
    near = get_close_matches(name, sorted(known), n=6, cutoff=0.5)
    return f"did you mean {', '.join(near)}?" if near else f"known are {', '.join(sorted(known))}"


def check_llvm(target: Target, source: str) -> None:
    """Refuse a triple, CPU or feature that LLVM does not know.

    Args:
        target: as read from a file.
        source: file name, for messages.

    Raises:
        TargetError: naming source, key, value and near names.
    """
    mtriple, mcpu = str(target.tvm["mtriple"]), str(target.tvm["mcpu"])
    architecture = mtriple.split("-", maxsplit=1)[0]
    if architecture not in ARCHITECTURES:
        raise TargetError(
            f"{source}: tvm.mtriple: {mtriple!r} is of no known architecture; "
            f"known are {', '.join(ARCHITECTURES)}"
        )
    cpus = list_cpus(mtriple)
    if mcpu not in cpus:
        raise TargetError(
            f"{source}: tvm.mcpu: LLVM knows no CPU {mcpu!r} for {mtriple}; {_suggest(mcpu, cpus)}"
        )
    known = list_features(mtriple)
    mattr = target.tvm.get("mattr", [])
    assert isinstance(mattr, list)
    for feature in mattr:
        if feature[1:] not in known:
            raise TargetError(
                f"{source}: tvm.mattr: LLVM knows no feature {feature[1:]!r} for {mtriple}; "
                f"{_suggest(feature[1:], known)}"
            )
