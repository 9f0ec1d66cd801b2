"""Builds with threads: the same bytes as without, asleep between inferences, gone after the end."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from elftools.elf.elffile import ELFFile
from onnx import TensorProto, helper, numpy_helper

import footprint_compiler as fpc
from footprint_compiler.artifact import Artifact
from footprint_compiler.codegen.elf_check import THREAD_FUNCTIONS
from footprint_compiler.errors import RunnerError, UsageError
from footprint_compiler.runners.harness import find_library
from footprint_compiler.runtime.loader import load

TASKS = Path("/proc/self/task")
Build = Callable[[int], Artifact]


def network() -> onnx.ModelProto:
    """Three convolutions with a residual sum and a pool; the 3x3 ones may be transformed."""
    rng = np.random.default_rng(0)
    first = rng.standard_normal((16, 3, 3, 3)).astype(np.float32)
    second = rng.standard_normal((16, 16, 5, 5)).astype(np.float32)
    third = rng.standard_normal((16, 16, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w1"], ["c"], pads=[2, 2, 2, 2]),
        helper.make_node("Conv", ["c", "w2"], ["e"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["b", "e"], ["d"]),
        helper.make_node("MaxPool", ["d"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 45, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16, 22, 16])],
        [
            numpy_helper.from_array(array, name)
            for array, name in ((first, "w0"), (second, "w1"), (third, "w2"))
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    folder = tmp_path_factory.mktemp("threads")
    onnx.save(network(), folder / "net.onnx")
    made: dict[int, Artifact] = {}

    def make(threads: int) -> Artifact:
        if threads not in made:
            options = fpc.BuildOptions(name="net", threads=threads, optimize_for="speed")
            made[threads] = fpc.build(folder / "net.onnx", "native", options, folder / str(threads))
        return made[threads]

    return make


def image(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"x": rng.standard_normal((1, 3, 45, 32)).astype(np.float32)}


def tasks() -> set[str]:
    return {path.name for path in TASKS.iterdir()}


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_outputs_are_the_same_to_the_bit(threads: int, build: Build) -> None:
    shared = [row for row in build(threads).manifest["layers"] if "parts" in row]
    assert len(shared) >= 3, "too little is shared, so that the test would show nothing"
    assert any(row["scratch_bytes"] for row in shared), "no thread has scratch of its own"
    with load(build(1)) as alone, load(build(threads)) as together:
        for seed in range(40):
            wanted, found = alone.run(image(seed)), together.run(image(seed))
            np.testing.assert_array_equal(found["y"], wanted["y"])


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_the_system_compiler_links_threads(build: Build, tmp_path: Path) -> None:
    options = fpc.BuildOptions(name="net", threads=2, cc="gcc")
    model = tmp_path / "net.onnx"
    onnx.save(network(), model)
    with load(build(1)) as alone, load(fpc.build(model, "native", options, tmp_path / "g")) as made:
        np.testing.assert_allclose(made.run(image())["y"], alone.run(image())["y"], rtol=1e-5)


def other_kernels() -> onnx.ModelProto:
    """Attention with a dense layer, softmax and functions, and an integer convolution."""
    rng = np.random.default_rng(5)
    constants = {
        "w": rng.standard_normal((96, 128)).astype(np.float32) / 10,
        "scale": np.float32(0.05),
        "zero": np.int8(3),
        "codes": rng.integers(-127, 128, (24, 96, 1, 1)).astype(np.int8),
        "steps": np.full(24, 0.01, np.float32),
        "zeros": np.zeros(24, np.int8),
        "places": np.array([1, 96, 16, 10]),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["dense"]),
        helper.make_node("Tanh", ["dense"], ["bent"]),
        helper.make_node("Transpose", ["bent"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["bent", "turned"], ["near"]),
        helper.make_node("Softmax", ["near"], ["weights"]),
        helper.make_node("MatMul", ["weights", "bent"], ["y"]),
        helper.make_node("Reshape", ["x", "places"], ["image"]),
        helper.make_node("QuantizeLinear", ["image", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("DequantizeLinear", ["codes", "steps", "zeros"], ["k"], axis=0),
        helper.make_node("Conv", ["d", "k"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "scale", "zero"], ["z"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 160, 96])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 160, 128]),
            helper.make_tensor_value_info("z", TensorProto.INT8, [1, 24, 16, 10]),
        ],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_other_families_are_shared(tmp_path: Path) -> None:
    onnx.save(other_kernels(), tmp_path / "net.onnx")
    x = np.random.default_rng(0).standard_normal((1, 160, 96)).astype(np.float32)
    outputs = []
    for threads in (1, 3):
        options = fpc.BuildOptions(name="net", threads=threads, optimize_for="speed")
        artifact = fpc.build(tmp_path / "net.onnx", "native", options, tmp_path / str(threads))
        with load(artifact) as model:
            outputs.append([dict(model.run({"x": x})) for _ in range(20)])
    shared = {row["family"] for row in artifact.manifest["layers"] if "parts" in row}
    assert shared >= {"dense", "matmul", "softmax", "conv2d"}
    for found in outputs[1]:
        for name, wanted in outputs[0][0].items():
            np.testing.assert_array_equal(found[name], wanted)


def test_contexts_run_at_once(build: Build) -> None:
    with load(build(1)) as alone:
        wanted = [alone.run(image(seed))["y"] for seed in range(4)]
    models = [load(build(2)) for _ in range(4)]
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(20):
            if not np.array_equal(models[number].run(image(number))["y"], wanted[number]):
                wrong.append(number)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for model in models:
        model.close()
    assert not wrong


def test_threads_sleep_between_inferences_and_end_with_the_context(build: Build) -> None:
    artifact = build(3)  # compiling starts threads of its own
    before = tasks()
    model = load(artifact)
    helpers = tasks() - before
    assert len(helpers) == 2
    model.run(image())
    deadline = time.monotonic() + 10
    while any(_state(helper) != "S" for helper in helpers):
        assert time.monotonic() < deadline, "a thread is still busy after the inference"
        time.sleep(0.01)
    assert tasks() - before == helpers, "an inference starts no thread"
    model.close()
    while tasks() & helpers:  # joined, and listed until the kernel has put them away
        assert time.monotonic() < deadline + 60, "a thread outlives its context"
        time.sleep(0.01)


def test_a_child_of_fork_ends_a_context_and_starts_another(build: Build, tmp_path: Path) -> None:
    """In a process of its own: this one may have threads that do not take a fork."""
    program = tmp_path / "forks.py"
    program.write_text(FORKS, encoding="utf-8")
    done = subprocess.run([sys.executable, program, build(3).path], timeout=120, check=False)
    assert done.returncode == 0


FORKS = """
import os, signal, sys
import numpy as np
import footprint_compiler as fpc
artifact = fpc.open_artifact(sys.argv[1])
model = fpc.load(artifact)
x = {"x": np.ones((1, 3, 45, 32), np.float32)}
wanted = model.run(x)["y"]
child = os.fork()
if child == 0:
    signal.alarm(60)  # ends one that waits for threads that it has not
    model.close()
    with fpc.load(artifact) as own:
        same = np.array_equal(own.run(x)["y"], wanted)
    os._exit(0 if same else 1)
_, status = os.waitpid(child, 0)
assert np.array_equal(model.run(x)["y"], wanted)
model.close()
sys.exit(os.waitstatus_to_exitcode(status) != 0)
"""


def test_a_code_means_the_same_with_and_without_a_pager(build: Build) -> None:
    header = build(2).header.read_text()
    assert "#define NET_ERROR_PAGER 6\n" in header
    assert "#define NET_ERROR_THREADS 7\n" in header


def _state(task: str) -> str:
    text = (TASKS / task / "stat").read_text(encoding="utf-8")
    return text.rsplit(")", 1)[1].split()[0]


def test_one_thread_needs_no_pthreads(build: Build) -> None:
    for threads, wanted in ((1, False), (2, True)):
        artifact = build(threads)
        elf = ELFFile(io.BytesIO(artifact.library.read_bytes()))
        symbols = {symbol.name for symbol in elf.get_section_by_name(".dynsym").iter_symbols()}
        assert bool(symbols & THREAD_FUNCTIONS) == wanted
        assert ("net_deinit" in symbols) == wanted
        assert ("net_deinit" in artifact.header.read_text()) == wanted
        assert bool(artifact.manifest["externals"]["threads"]) == wanted


def test_ram_counts_the_stacks(build: Build) -> None:
    ram = build(3).manifest["footprint"]["ram"]
    assert ram["threads_bytes"] % 2 == 0
    assert ram["total_bytes"] == ram["threads_bytes"] + sum(
        ram[key] for key in ("arena_bytes", "stack_bytes", "context_bytes", "static_bytes")
    )
    header = build(3).header.read_text()
    assert "#define NET_THREADS 3" in header
    assert f"#define NET_THREAD_STACK_BYTES {ram['threads_bytes'] // 2}\n" in header


def test_what_cannot_have_threads_is_refused(build: Build, tmp_path: Path) -> None:
    onnx.save(network(), tmp_path / "net.onnx")
    with pytest.raises(UsageError, match="no operating system"):
        fpc.build(
            tmp_path / "net.onnx",
            "cortex-m4",
            fpc.BuildOptions(threads=2),
            tmp_path / "out",
        )
    with pytest.raises(UsageError, match="65 threads"):
        fpc.build(tmp_path / "net.onnx", "native", fpc.BuildOptions(threads=65), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(RunnerError, match="2 threads"):
        find_library(build(2))


@pytest.mark.parametrize("target", ["arm64", "armv7"])
def test_other_machines_link(target: str, tmp_path: Path) -> None:
    onnx.save(network(), tmp_path / "net.onnx")
    options = fpc.BuildOptions(name="net", threads=2)
    artifact = fpc.build(tmp_path / "net.onnx", target, options, tmp_path / "out")
    assert artifact.manifest["threads"] == 2
    elf = ELFFile(io.BytesIO(artifact.library.read_bytes()))
    symbols = {symbol.name for symbol in elf.get_section_by_name(".dynsym").iter_symbols()}
    assert "pthread_create" in symbols
