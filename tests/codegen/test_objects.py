"""Kernels whose indices wrap are right on every vector unit that this machine has."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tvm
from tvm import te, topi

from footprint_compiler.codegen.elf_check import LIBM_FUNCTIONS, undefined_symbols
from footprint_compiler.codegen.objects import compile_objects, lower_kernel
from footprint_compiler.runners.local import why_not_local
from footprint_compiler.runners.machine import machine_of_target
from footprint_compiler.targets import load_target

CASES = [
    ((3, 4, 5), (6, 4, 2)),
    ((2, 3, 4, 5), (7, 6, 4, 2)),
    ((8, 3), (5, 3)),
    ((2, 16), (9, 1)),
]


@pytest.mark.parametrize("name", ["x86-64", "x86-64-v3", "x86-64-v4", "native"])
@pytest.mark.parametrize(("shape", "repeats"), CASES)
def test_tile_is_right_with_every_vector_width(
    name: str, shape: tuple[int, ...], repeats: tuple[int, ...], tmp_path: Path
) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc to link a test library")
    target = load_target(name)
    problem = why_not_local(machine_of_target(target))
    if problem is not None:
        pytest.skip(problem)
    x = te.placeholder(shape, "float32", name="x")
    func = te.create_prim_func([x, topi.tile(x, list(repeats))])
    llvm = tvm.target.Target(dict(target.tvm))
    paths = []
    for number, data in enumerate(compile_objects({"k": lower_kernel(func, "k", llvm)}, llvm)):
        paths.append(tmp_path / f"{number}.o")
        paths[-1].write_bytes(data)
    library = tmp_path / "k.so"
    subprocess.run(["gcc", "-shared", "-o", library, *paths], check=True)
    values = np.arange(np.prod(shape), dtype="float32").reshape(shape)
    expected = np.tile(values, repeats)
    result = np.zeros_like(expected)
    ctypes.CDLL(str(library)).k(
        ctypes.c_void_p(values.ctypes.data), ctypes.c_void_p(result.ctypes.data)
    )
    np.testing.assert_array_equal(result, expected)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no files in memory on this system")
def test_no_disk_is_needed_for_what_llvm_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LLVM would end the process where the disk is full."""
    target = tvm.target.Target({"kind": "llvm", "mtriple": "x86_64-linux-gnu"})
    a = te.placeholder((8,), name="a")
    twice = te.compute((8,), lambda i: a[i] + a[i])
    kernel = lower_kernel(te.create_prim_func([a, twice]), "k", target)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    (content,) = compile_objects({"k": kernel}, target)
    assert content.startswith(b"\x7fELF")


@pytest.mark.parametrize("name", ["esp32-c3", "esp32-p4", "cortex-m4"])
def test_cores_without_rounding_instructions_need_no_libm(name: str) -> None:
    x = te.placeholder((64,), "float32", name="x")
    floor = te.create_prim_func([x, topi.floor(x)])
    target = tvm.target.Target(dict(load_target(name).tvm))
    kernel = lower_kernel(floor, "k", target)
    wanted = {
        symbol
        for one in compile_objects({"k": kernel}, target)
        for symbol in undefined_symbols(one)
    }
    assert not wanted & LIBM_FUNCTIONS
