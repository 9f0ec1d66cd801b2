"""What goes wrong for users of the example: one line, an id, a code, and nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

FPC = [sys.executable, "-m", "footprint_compiler.cli.main"]


def failed(result, code: int, error_id: str) -> str:
    """The message, after the checks that hold for every error."""
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    last = result.stderr.splitlines()[-2:]
    assert last[0].startswith(f"error {error_id}: "), result.stderr
    assert last[1].startswith("  remedy: ")
    return last[0]


def dynamic_model(path: Path) -> Path:
    info = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [info], [out])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def test_a_model_that_is_not_there(fpc, tmp_path):
    result = fpc("build", tmp_path / "none.onnx", "-o", tmp_path / "out")
    assert "none.onnx" in failed(result, 4, "FPC-E010")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_as_a_model(fpc, tmp_path):
    failed(fpc("build", tmp_path, "-o", tmp_path / "out"), 4, "FPC-E010")


def test_an_unknown_target(fpc, digits, tmp_path):
    result = fpc("build", digits, "--target", "pdp-11", "-o", tmp_path / "out")
    assert "pdp-11" in failed(result, 2, "FPC-E030")


def test_a_dynamic_shape_names_the_input(fpc, tmp_path):
    model = dynamic_model(tmp_path / "m.onnx")
    result = fpc("build", model, "-o", tmp_path / "out")
    assert "'x'" in failed(result, 2, "FPC-E011") or " x " in result.stderr
    assert "--shape" in result.stderr
    bound = fpc("build", model, "--shape", "x=2,4", "-o", tmp_path / "out")
    assert bound.exit_code == 0, bound.stderr


@pytest.mark.parametrize("shape", ["image=1,1,9,9", "nothing=1", "image=1"])
def test_a_shape_that_does_not_fit(fpc, digits, tmp_path, shape):
    result = fpc("build", digits, "--shape", shape, "-o", tmp_path / "out")
    assert result.exit_code in (2, 4)
    failed(result, result.exit_code, result.stderr.split("error ")[1][:8])
    assert not (tmp_path / "out").exists()


def test_an_unsupported_operator_lists_every_node(fpc, tmp_path):
    model = onnx.load(dynamic_model(tmp_path / "m.onnx"))
    names = ("first_strange", "second_strange")
    for number, name in enumerate(names):
        edge = (["a"], ["y"]) if number else (["x"], ["a"])
        node = helper.make_node("Strange", *edge, name, domain="com.example")
        model.graph.node.insert(number, node)
    del model.graph.node[2]
    onnx.save(model, tmp_path / "m.onnx")
    result = fpc("build", tmp_path / "m.onnx", "--shape", "x=1,4", "-o", tmp_path / "out")
    failed(result, 4, "FPC-E012")
    assert all(name in result.stderr for name in names)
    as_json = fpc("build", tmp_path / "m.onnx", "--shape", "x=1,4", "--json")
    nodes = json.loads(as_json.stdout)["error"]["nodes"]
    assert [node["node"] for node in nodes] == list(names)
    assert all("Strange" in node["operator"] and node["remedy"] for node in nodes)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"pixels": np.zeros((1, 1, 8, 8), "f4")}, "image"),
        ({"image": np.zeros((1, 8, 8), "f4")}, "shape"),
        ({"image": np.zeros((1, 1, 8, 8), "f8")}, "float64"),
        ({"image": np.full((1, 1, 8, 8), np.nan, "f4")}, "NaN"),
    ],
)
@pytest.mark.parametrize("command", ["run", "bench", "validate"])
def test_inputs_that_do_not_fit(fpc, native, digits, tmp_path, command, arrays, says):
    np.savez(tmp_path / "in.npz", **arrays)
    more = ["--model", digits] if command == "validate" else []
    result = fpc(command, native, "-i", tmp_path / "in.npz", *more)
    assert says in failed(result, 2, "FPC-E020")


def test_a_bad_npz(fpc, native, tmp_path):
    (tmp_path / "in.npz").write_bytes(b"PK\x03\x04 not really")
    failed(fpc("run", native, "-i", tmp_path / "in.npz"), 2, "FPC-E020")


def test_nan_on_request(fpc, native, tmp_path):
    np.savez(tmp_path / "in.npz", image=np.full((1, 1, 8, 8), np.nan, "f4"))
    assert fpc("run", native, "-i", tmp_path / "in.npz", "--allow-nan").exit_code == 0


@pytest.mark.parametrize("command", ["run", "plan", "bench"])
@pytest.mark.parametrize("place", ["nowhere", "empty", "file", "damaged"])
def test_something_that_is_no_build(fpc, native, sample, tmp_path, command, place):
    path = tmp_path / place
    if place == "empty":
        path.mkdir()
    elif place == "file":
        path.write_bytes(b"hello")
    elif place == "damaged":
        shutil.copytree(native, path)
        (path / "manifest.json").write_text("{")
    more = ["-i", sample] if command == "run" else []
    failed(fpc(command, path, *more), 2, "FPC-E021")


def test_a_library_that_was_cut_is_not_loaded(fpc, native, sample, tmp_path):
    shutil.copytree(native, tmp_path / "cut")
    library = tmp_path / "cut" / "libdigits.so"
    library.write_bytes(library.read_bytes()[:5000])
    failed(fpc("run", tmp_path / "cut", "-i", sample), 2, "FPC-E021")


def test_another_model_for_validate_is_noticed(fpc, native, tmp_path):
    model = dynamic_model(tmp_path / "m.onnx")
    result = fpc("validate", native, "--model", model)
    failed(result, 4, "FPC-E010")
    assert "is not the file" in result.stderr


def test_an_output_that_is_a_file(fpc, digits, tmp_path):
    (tmp_path / "out").write_text("precious")
    failed(fpc("build", digits, "-o", tmp_path / "out"), 2, "FPC-E040")
    assert (tmp_path / "out").read_text() == "precious"


def test_a_folder_with_other_content_is_left_alone(fpc, digits, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    failed(fpc("build", digits, "-o", tmp_path / "out"), 2, "FPC-E040")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_an_output_below_a_file(fpc, digits, native, sample, tmp_path):
    (tmp_path / "file").write_text("precious")
    failed(fpc("build", digits, "-o", tmp_path / "file" / "out"), 2, "FPC-E040")
    result = fpc("run", native, "-i", sample, "-o", tmp_path / "file" / "out.npz")
    failed(result, 2, "FPC-E040")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_without_permission(fpc, digits, tmp_path):
    tmp_path.chmod(0o500)
    failed(fpc("build", digits, "-o", tmp_path / "out"), 2, "FPC-E040")
    tmp_path.chmod(0o700)


def test_a_full_disk(fpc, native, sample):
    failed(fpc("run", native, "-i", sample, "-o", "/dev/full"), 2, "FPC-E040")


def test_a_c_name_that_is_none(fpc, digits, tmp_path):
    result = fpc("build", digits, "--name", "7 up", "-o", tmp_path / "out")
    failed(result, 2, "FPC-E001")


def test_a_compiler_that_is_not_there(fpc, digits, tmp_path):
    result = fpc("build", digits, "--cc", "no-such-compiler", "-o", tmp_path / "out")
    assert "no-such-compiler" in failed(result, 7, "FPC-E080")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def endless_compiler(tmp_path_factory):
    """(a C compiler that never ends, the file that it makes first)."""
    folder = tmp_path_factory.mktemp("compiler")
    compiler, begun = folder / "cc", folder / "begun"
    compiler.write_text(f"#!/bin/sh\n: > {begun}\nexec sleep 600\n")
    compiler.chmod(0o700)
    return compiler, begun


def interrupt_while_compiling(out, model, endless_compiler):
    """The process after Ctrl-C, and what it said."""
    compiler, begun = endless_compiler
    process = subprocess.Popen(
        [*FPC, "build", str(model), "-o", str(out), "--name", "digits", "--cc", str(compiler)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not begun.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    return process, *process.communicate(timeout=60)


def test_ctrl_c_while_a_compiler_runs(digits, tmp_path, endless_compiler):
    process, said, errors = interrupt_while_compiling(
        tmp_path / "deep" / "out", digits, endless_compiler
    )
    assert process.returncode == 130, errors
    assert said == ""
    assert errors.splitlines()[-2] == "error FPC-E130: interrupted"
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == [], "something was left behind"


@pytest.mark.parametrize("phase", ["import the model", "generate kernels"])
def test_ctrl_c_during_a_build(digits, tmp_path, phase):
    process = subprocess.Popen(
        [*FPC, "build", str(digits), "-o", str(tmp_path / "deep" / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if line.strip() == phase:
            break
    else:
        pytest.fail(f"the build never said {phase!r}")
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert said == ""
    assert "error FPC-E130: interrupted" in errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == [], "something was left behind"


def test_ctrl_c_keeps_the_build_that_was_there(
    native, digits, sample, tmp_path, fpc, endless_compiler
):
    out = tmp_path / "out"
    shutil.copytree(native, out)
    process, _, _ = interrupt_while_compiling(out, digits, endless_compiler)
    assert process.returncode == 130
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert fpc("run", out, "-i", sample).exit_code == 0
