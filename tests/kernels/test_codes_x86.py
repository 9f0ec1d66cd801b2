"""Accumulators to codes in the registers of x86-64: every step of every code, and the extremes."""

from __future__ import annotations

import ctypes
import platform
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import tirx

from footprint_compiler.codegen.objects import compile_object, lower_kernel
from footprint_compiler.kernels.requantize import requantized
from footprint_compiler.kernels.tir import index, loop, prim_func
from footprint_compiler.quant.fixed_point import Multiplier, requantize, saturate
from footprint_compiler.targets import load_target
from footprint_compiler.targets.llvm import target_features
from tests.kernels.harness import load_object

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="instructions of x86-64")

FORMS = {
    "full": (0, -128, 127, "int8"),
    "relu": (-128, -128, 127, "int8"),
    "moved": (127, -128, 127, "int8"),
    "clipped": (-9, -9, 54, "int8"),
    "unsigned": (255, 0, 255, "uint8"),
    "clipped-unsigned": (100, 100, 203, "uint8"),
}
"""Zero point, limits, dtype."""


def _mantissas(lanes: int) -> tuple[int, ...]:
    """The least, the largest, powers of two (with ties) and others."""
    given = [0, 1, 2**29 - 1, 2**28, 2**22, 2**20 + 1, 12_345_678, 3 << 19]
    rng = np.random.default_rng(lanes)
    return tuple(given + [int(m) for m in rng.integers(2**16, 2**29, lanes)])[:lanes]


def _accumulators(mantissas: tuple[int, ...], zero_point: int) -> np.ndarray:
    """Around each step of each code, and the largest sums; (rows, lanes)."""
    steps = np.arange(-260 - zero_point, 260 - zero_point)[:, None] + 0.5
    near = np.rint(steps * 2.0**31 / np.maximum(1, np.array(mantissas)))
    columns = [near + away for away in (-1, 0, 1)]
    limits = np.array([-(2**30), 2**30 - 1, 0, -1, 1, 2**24, -(2**24)])
    columns.append(np.repeat(limits[:, None], len(mantissas), 1))
    return np.clip(np.concatenate(columns), -(2**30), 2**30 - 1).astype(np.int32)


def _kernel(rows: int, lanes: int, form: tuple[int, int, int, str], spare: bool) -> Any:
    zero_point, low, high, dtype = form

    def buffer(name: str, shape: tuple[int, ...], kind: str) -> Any:
        return tirx.decl_buffer([index(size) for size in shape], kind, name=name)

    acc, codes = buffer("acc", (rows, lanes), "int32"), buffer("codes", (rows, lanes), dtype)
    mantissa = buffer("mantissa", (lanes,), "int32")

    def element(row: Any, lane: Any) -> Any:
        value = tirx.BufferLoad(acc, [row, lane])
        factor = tirx.BufferLoad(mantissa, [lane])
        code = requantized(value, factor, 0, zero_point, low, high, dtype, spare=spare)
        return tirx.BufferStore(codes, code, [row, lane])

    def one(row: Any) -> Any:
        return loop("lane", 0, lanes, lambda lane: element(row, lane), tirx.ForKind.VECTORIZED)

    return prim_func([acc, mantissa, codes], loop("row", 0, rows, one))


@cache
def _library(target: str, folder: Path) -> Any:
    llvm = tvm.target.Target(dict(load_target(target).tvm))
    kernels = {}
    for name, form in FORMS.items():
        for lanes in (8, 16):
            rows = len(_accumulators(_mantissas(lanes), form[0]))
            for spare in (True, False):
                symbol = f"{name.replace('-', '_')}_{lanes}_{int(spare)}"
                kernels[symbol] = lower_kernel(_kernel(rows, lanes, form, spare), symbol, llvm)
    content = compile_object(kernels, llvm)
    return load_object(content, folder), content


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("codes")


@pytest.mark.parametrize("lanes", [8, 16])
@pytest.mark.parametrize("name", list(FORMS))
@pytest.mark.parametrize("target", ["x86-64-v3", "x86-64-v4"])
def test_codes_are_the_definition(target: str, name: str, lanes: int, folder: Path) -> None:
    needed = {"x86-64-v3": "avx2", "x86-64-v4": "avx512bw"}[target]
    if needed not in target_features(load_target("native")):
        pytest.skip(f"this machine is no {target}")
    library, _ = _library(target, folder / target)
    zero_point, low, high, dtype = FORMS[name]
    mantissas = _mantissas(lanes)
    acc = _accumulators(mantissas, zero_point)
    exact = requantize(acc, Multiplier(mantissas, 0))
    wanted = saturate(exact, zero_point, low, high)
    assert {low, high} <= set(np.unique(wanted).tolist())
    assert len(np.unique(wanted)) == high - low + 1, "some code is not tested"
    for spare in (True, False):
        codes = np.full(acc.shape, 77, dtype)
        arrays = (acc, np.array(mantissas, np.int32), codes)
        function = getattr(library, f"{name.replace('-', '_')}_{lanes}_{int(spare)}")
        function(*(ctypes.c_void_p(array.ctypes.data) for array in arrays))
        np.testing.assert_array_equal(codes, wanted)


def test_rounds_in_narrow_lanes(folder: Path) -> None:
    """PMULHRSW with VEX: map 2 (0F38), opcode 0B; only where mantissas have bits to spare."""
    llvm = tvm.target.Target(dict(load_target("x86-64-v3").tvm))
    for spare in (True, False):
        kernel = lower_kernel(_kernel(4, 16, FORMS["relu"], spare), "one", llvm)
        content = compile_object({"one": kernel}, llvm)
        vex = [content[i : i + 4] for i in range(len(content) - 3) if content[i] == 0xC4]
        assert any(c[1] & 0x1F == 2 and c[3] == 0x0B for c in vex) == spare
