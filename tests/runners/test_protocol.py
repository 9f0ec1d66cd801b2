"""Requests, reports and counts: what is damaged is refused, not read."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from footprint_compiler.artifact import Artifact
from footprint_compiler.errors import RunnerError, ToolchainError
from footprint_compiler.runners import plugin
from footprint_compiler.runners.compile import first_error, run_zig
from footprint_compiler.runners.protocol import (
    MAGIC,
    Report,
    check_report,
    decode_outputs,
    decode_report,
    encode_request,
)
from footprint_compiler.tensor import TensorSpec

OUTPUTS = (TensorSpec("y", (2,), "float32"), TensorSpec("s", (), "int64"))
ARTIFACT = Artifact(Path(), "demo", "arm64", (), OUTPUTS, {})
GOOD = Report(0, 0, 64, 100, 0, 0, 0, 7, 7)


def test_a_request_is_little_endian_and_dense() -> None:
    transposed = np.arange(6, dtype=">i2").reshape(2, 3).T
    data = encode_request([transposed], 2, True)
    assert data[:12] == struct.pack("<III", MAGIC, 2, 1)
    assert data[12:] == np.array([0, 3, 1, 4, 2, 5], "<i2").tobytes()


def test_outputs_are_read_in_order() -> None:
    found = decode_outputs(ARTIFACT, struct.pack("<ffq", 1.5, -2.0, -3))
    np.testing.assert_array_equal(found["y"], np.array([1.5, -2.0], np.float32))
    assert found["s"].shape == ()
    assert found["s"] == -3


@pytest.mark.parametrize("size", [0, 15, 17])
def test_outputs_of_another_size_are_refused(size: int) -> None:
    with pytest.raises(RunnerError, match=f"16 bytes, the emulator wrote {size}"):
        decode_outputs(ARTIFACT, bytes(size))


def test_a_report_is_read_back_and_checked() -> None:
    data = struct.pack("<IiiIIIIIIII", MAGIC, 0, 0, 64, 100, 0, 0, 0, 7, 7, 0)
    assert decode_report(data) == GOOD
    check_report(GOOD, 100)
    for damaged in (data[:-1], b"\0" + data[1:], b""):
        with pytest.raises(RunnerError, match="no valid report"):
            decode_report(damaged)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((3, 0, 64, 100, 0, 0, 0, 7, 7), "init returned 3"),
        ((0, -1, 64, 100, 0, 0, 0, 7, 7), "invoke returned -1"),
        ((0, 0, 64, 101, 0, 0, 0, 7, 7), "used 101 bytes of stack, and its manifest promises 100"),
        ((0, 0, 64, 90, 0, 0, 1, 7, 7), "at least 90"),
        ((0, 0, 64, 100, 1, 0, 0, 7, 7), "1 guard bytes below and 0 above"),
        ((0, 0, 64, 100, 0, 2, 0, 7, 7), "0 guard bytes below and 2 above"),
        ((0, 0, 64, 100, 0, 0, 0, 7, 8), "two runs"),
        ((0, 0, 64, 100, 0, 0, 0, 7, 7, 1), "wrote over its code or constants"),
    ],
)
def test_each_broken_guarantee_is_named(values: tuple[int, ...], words: str) -> None:
    with pytest.raises(RunnerError, match=words):
        check_report(Report(*values), 100)


def test_the_count_is_that_of_the_last_invocation() -> None:
    assert plugin.count_of([5, 500, 104]) == 100
    with pytest.raises(RunnerError, match="counted nothing"):
        plugin.count_of([5])


def test_commas_in_the_path_of_the_plugin_are_escaped() -> None:
    found = plugin.plugin_arguments(Path("/a,b/count.so"), (0x10, 0x20), "counts.txt")
    assert found == ["-plugin", "file=/a,,b/count.so,begin=0x10,end=0x20,out=counts.txt"]


def test_a_program_that_is_no_qemu() -> None:
    with pytest.raises(ToolchainError, match="true --version"):
        plugin.qemu_major("true")
    with pytest.raises(ToolchainError, match="nowhere --version failed"):
        plugin.qemu_major("/nowhere")


def test_errors_of_the_compiler_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.c").write_text("int f(void) { return x; }\n", encoding="utf-8")
    with pytest.raises(
        ToolchainError, match=r"zig cc failed: .*undeclared identifier 'x'"
    ) as caught:
        run_zig(["cc", "-c", "bad.c"], tmp_path)
    assert "\n" not in caught.value.message
    assert first_error("") == "no message"
