"""Kernels cut into items: each computes the same alone, and what carries values is not cut."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tvm import tirx

from footprint_compiler.codegen.items import take_items
from footprint_compiler.codegen.objects import compile_object, lower_kernel, lower_shared
from footprint_compiler.kernels.tir import index, local, loop, prim_func, seq
from tests.kernels.harness import host_llvm, load_object

ROWS, COLUMNS = 9, 13
Body = Callable[[Any, Any], Any]


def _func(body: Body) -> Any:
    shape = [index(ROWS * COLUMNS)]
    x = tirx.decl_buffer(shape, "float32", name="x")
    y = tirx.decl_buffer(shape, "float32", name="y")
    return prim_func([x, y], body(x, y))


def _at(buffer: Any, row: Any, column: Any) -> Any:
    return tirx.BufferLoad(buffer, [row * index(COLUMNS) + column])


def _set(buffer: Any, row: Any, column: Any, value: Any) -> Any:
    return tirx.BufferStore(buffer, value, [row * index(COLUMNS) + column])


def _rows(x: Any, y: Any) -> Any:
    """A row at a time."""
    return loop(
        "r",
        0,
        ROWS,
        lambda r: loop("c", 0, COLUMNS, lambda c: _set(y, r, c, _at(x, r, c) * 2.0)),
    )


def _columns(x: Any, y: Any) -> Any:
    """The outer loop is short: its body is cut instead."""
    pair = ROWS // 3
    return loop(
        "o",
        0,
        pair,
        lambda o: loop(
            "c",
            0,
            COLUMNS,
            lambda c: loop(
                "r", 0, 3, lambda r: _set(y, o * index(3) + r, c, _at(x, o * index(3) + r, c) + 1.0)
            ),
        ),
    )


def _sums(x: Any, y: Any) -> Any:
    """A temporary, filled anew for each row; the last row is written apart."""
    total = local("total", 1, "float32")
    zero = tirx.BufferStore(total, tirx.const(0.0, "float32"), [index(0)])

    def row(r: Any) -> Any:
        def add(c: Any) -> Any:
            value = tirx.BufferLoad(total, [index(0)]) + _at(x, r, c)
            return tirx.BufferStore(total, value, [index(0)])

        def give(c: Any) -> Any:
            return _set(y, r, c, tirx.BufferLoad(total, [index(0)]))

        return seq([zero, loop("c", 0, COLUMNS, add), loop("d", 0, COLUMNS, give)])

    return seq([tirx.AllocBuffer(total), loop("r", 0, ROWS - 1, row), row(index(ROWS - 1))])


def _running(x: Any, y: Any) -> Any:
    """Each row adds to the sum of those before it."""
    total = local("total", 1, "float32")

    def row(r: Any) -> Any:
        value = tirx.BufferLoad(total, [index(0)]) + _at(x, r, index(0))
        give = _set(y, r, index(0), tirx.BufferLoad(total, [index(0)]))
        return seq([tirx.BufferStore(total, value, [index(0)]), give])

    zero = tirx.BufferStore(total, tirx.const(0.0, "float32"), [index(0)])
    return seq([tirx.AllocBuffer(total), zero, loop("r", 0, ROWS, row)])


def _peak(x: Any, y: Any) -> Any:
    """A temporary of two halves, filled by two statements and used by a third."""
    kept = local("kept", 2, "float32")
    fill = [tirx.BufferStore(kept, _at(x, index(r), index(0)), [index(r)]) for r in range(2)]
    both = tirx.BufferLoad(kept, [index(0)]) + tirx.BufferLoad(kept, [index(1)])
    use = loop("r", 0, ROWS, lambda r: _set(y, r, index(0), both))
    return seq([tirx.AllocBuffer(kept), *fill, use])


def _overlapping(x: Any, y: Any) -> Any:
    """Each row is written by its neighbour, too."""

    def row(r: Any) -> Any:
        return seq([_set(y, r, index(c), _at(x, r, index(c))) for c in range(COLUMNS + 1)])

    return loop("r", 0, ROWS - 1, row)


def _scattered(x: Any, y: Any) -> Any:
    """Where an element goes depends on the input."""

    def row(r: Any) -> Any:
        place = _at(x, r, index(0)).astype("int64")
        return tirx.BufferStore(y, _at(x, r, index(1)), [tirx.max(index(0), place)])

    return loop("r", 0, ROWS, row)


def _accumulated(x: Any, y: Any) -> Any:
    """The output is cleared by one loop and added to by another."""
    zero = tirx.const(0.0, "float32")
    clear = loop("r", 0, ROWS, lambda r: _set(y, r, index(0), zero))
    add = loop("r", 0, ROWS, lambda r: _set(y, r, index(0), _at(y, r, index(0)) + _at(x, r, r)))
    return seq([clear, add])


@pytest.mark.parametrize(
    ("body", "items", "uniform"), [(_rows, 9, False), (_columns, 13, False), (_sums, 9, True)]
)
def test_items_alone_and_backwards_compute_the_same(
    body: Body, items: int, uniform: bool, tmp_path: Path
) -> None:
    llvm, func = host_llvm(), _func(body)
    cut = lower_shared(func, "some", llvm, 1, 8, uniform)
    assert cut is not None
    assert cut.items == items
    library = load_object(
        compile_object({"all": lower_kernel(func, "all", llvm), "some": cut}, llvm), tmp_path
    )
    x = np.random.default_rng(1).standard_normal(ROWS * COLUMNS).astype(np.float32)
    whole, parts = np.zeros_like(x), np.zeros_like(x)

    def pointers(y: np.ndarray) -> list[Any]:
        return [ctypes.c_void_p(array.ctypes.data) for array in (x, y)]

    library.all(*pointers(whole))
    for item in reversed(range(items)):
        library.some(*pointers(parts), ctypes.c_int32(item), ctypes.c_int32(item + 1))
    assert np.any(whole)
    np.testing.assert_array_equal(whole, parts)
    parts[:] = 0
    library.some(*pointers(parts), ctypes.c_int32(0), ctypes.c_int32(items))
    np.testing.assert_array_equal(whole, parts)


@pytest.mark.parametrize("body", [_running, _peak, _overlapping, _scattered, _accumulated])
@pytest.mark.parametrize("uniform", [False, True])
def test_what_carries_values_is_not_cut(body: Body, uniform: bool) -> None:
    assert take_items(_func(body), 1, 8, uniform) is None
