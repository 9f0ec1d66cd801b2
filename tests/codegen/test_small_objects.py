"""Which kernels of a small build keep what LLVM's vectorizer makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tvm
from tvm import te, tirx

from footprint_compiler.codegen.elf_check import function_bytes
from footprint_compiler.codegen.objects import LoweredKernel, lower_kernel
from footprint_compiler.codegen.small_objects import (
    MOST_GROWTH,
    compile_small_object,
    compile_small_objects,
    worth_vectors,
)
from footprint_compiler.kernels.emit import emit_kernel
from footprint_compiler.kernels.machine import machine_of
from footprint_compiler.targets import load_target


def _kernel(symbol: str, target_name: str, function: Callable[[Any], Any]) -> LoweredKernel:
    target = load_target(target_name)
    x = te.placeholder((64, 256), "float32", name="x")
    y = te.compute(x.shape, lambda i, j: function(x[i, j]), name="y")
    func = emit_kernel(te.create_prim_func([x, y]), machine_of(target), frozenset()).func
    return lower_kernel(func, symbol, tvm.target.Target(dict(target.tvm)))


def _kernels(target_name: str) -> dict[str, LoweredKernel]:
    """A function of many operations, and one of a single operation."""
    functions: dict[str, Callable[[Any], Any]] = {
        "heavy": lambda x: x * (tirx.erf(x * tirx.const(0.7, "float32")) + 1.0),
        "light": lambda x: x + tirx.const(1, "float32"),
    }
    return {name: _kernel(name, target_name, function) for name, function in functions.items()}


@pytest.mark.parametrize("target_name", ["x86-64-v3", "x86-64-v4"])
def test_many_operations_are_worth_vectors(target_name: str) -> None:
    kernels, target = _kernels(target_name), load_target(target_name)
    assert set(worth_vectors(kernels, target)) == {"heavy"}
    small = function_bytes(compile_small_object(kernels, target))
    found = function_bytes(compile_small_objects(kernels, target))
    assert found["light"] == small["light"]
    assert found["heavy"] != small["heavy"]
    assert found["heavy"] <= MOST_GROWTH * small["heavy"]


def test_microcontrollers_have_no_vectors_to_keep() -> None:
    assert worth_vectors(_kernels("cortex-m4"), load_target("cortex-m4")) == {}
