from __future__ import annotations

import numpy as np
import pytest

from footprint_compiler.codegen.weights import pack_weights
from footprint_compiler.program import KernelCall, Program

from .samples import spec


def program(constants: dict[str, np.ndarray], *used: str) -> Program:
    x, y = spec("x", 4), spec("y", 4)
    call = KernelCall("k", ("x", *used), ("y",))
    return Program("net", (x,), (y,), {"x": x, "y": y}, constants, (), (call,))


@pytest.mark.parametrize("align", [16, 64])
def test_each_constant_is_aligned_and_unchanged(align: int) -> None:
    constants = {"a": np.arange(3, dtype=np.int8), "b": np.arange(5.0), "c": np.float32([7])}
    weights = pack_weights(program(constants, "c", "a", "b"), align)
    assert list(weights.offsets) == ["c", "a", "b"]
    assert [weights.offsets[name] for name in "cab"] == [0, align, 2 * align]
    for name, array in constants.items():
        stored = np.frombuffer(weights.data, array.dtype, array.size, weights.offsets[name])
        np.testing.assert_array_equal(stored, array)
    assert len(weights.data) == 2 * align + constants["b"].nbytes


def test_equal_content_is_stored_once() -> None:
    constants = {"a": np.ones(8, np.float32), "b": np.ones(8, np.float32), "c": np.ones(7, "f4")}
    weights = pack_weights(program(constants, "a", "b", "c", "a"), 16)
    assert weights.offsets["a"] == weights.offsets["b"] != weights.offsets["c"]
    assert len(weights.data) == 32 + 28


def test_what_no_call_reads_is_left_out() -> None:
    weights = pack_weights(program({"a": np.ones(8), "unused": np.zeros(1000)}, "a"), 16)
    assert len(weights.data) == 64
    assert pack_weights(program({"unused": np.zeros(9)}), 16).data == b""


def test_bytes_are_little_endian_and_row_major() -> None:
    array = np.arange(6, dtype=">i4").reshape(2, 3)
    transposed = np.asfortranarray(array)
    weights = pack_weights(program({"a": array, "b": transposed}, "a", "b"), 16)
    assert weights.data == np.arange(6, dtype="<i4").tobytes()
