"""The whole compiler on small ONNX models: odd outputs, symbols, and repeated builds."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from elftools.elf.elffile import ELFFile
from onnx import TensorProto, helper, numpy_helper

from footprint_compiler.build import build, identifier, node_names
from footprint_compiler.options import BuildOptions
from footprint_compiler.runtime.loader import load

FLOAT = TensorProto.FLOAT
Value = tuple[str, Sequence[int]]


def save(
    path: Path,
    nodes: Sequence[Any],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    **weights: np.ndarray,
) -> Path:
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs],
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def seeded(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def residual_block(path: Path) -> Path:
    """conv, batch norm, relu, conv, add, global pool, dense, softmax."""
    node = helper.make_node
    weights = {
        "w1": seeded(8, 3, 3, 3),
        "w2": seeded(8, 8, 3, 3) / 8,
        "w3": seeded(8, 5),
        "gamma": seeded(8),
        "beta": seeded(8),
        "mean": seeded(8),
        "var": np.abs(seeded(8)) + 1,
    }
    nodes = [
        node("Conv", ["x", "w1"], ["a"], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["a", "gamma", "beta", "mean", "var"], ["b"]),
        node("Relu", ["b"], ["c"]),
        node("Conv", ["c", "w2"], ["d"], pads=[1, 1, 1, 1]),
        node("Add", ["d", "c"], ["e"]),
        node("GlobalAveragePool", ["e"], ["f"]),
        node("Flatten", ["f"], ["g"]),
        node("MatMul", ["g", "w3"], ["h"]),
        node("Softmax", ["h"], ["y"]),
    ]
    return save(path, nodes, [("x", (1, 3, 9, 7))], [("y", (1, 5))], **weights)


def run(folder: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    model = load(folder)
    try:
        return {name: array.copy() for name, array in model.run(inputs).items()}
    finally:
        model.close()


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same model built twice, in two folders of one name."""
    folder = tmp_path_factory.mktemp("twice")
    model = residual_block(folder / "block.onnx")
    paths = (folder / "1" / "block", folder / "2" / "block")
    for path in paths:
        build(model, out=path)
    return paths


def test_two_builds_are_identical(twice: tuple[Path, Path]) -> None:
    first, second = ({f.name: f.read_bytes() for f in path.iterdir()} for path in twice)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert any(name.endswith(".so") for name in first)
    assert any(name.endswith(".a") for name in first)


def test_no_symbol_of_a_runtime_is_left(twice: tuple[Path, Path]) -> None:
    (library,) = twice[0].glob("*.so")
    table = ELFFile(io.BytesIO(library.read_bytes())).get_section_by_name(".dynsym")
    undefined = {s.name for s in table.iter_symbols() if s["st_shndx"] == "SHN_UNDEF" and s.name}
    assert not {name for name in undefined if "TVM" in name or "tvm" in name}
    assert undefined <= {"memcpy", "memset", "memmove"}


def test_numbers_of_a_residual_block(twice: tuple[Path, Path]) -> None:
    import onnxruntime

    x = seeded(1, 3, 9, 7)
    session = onnxruntime.InferenceSession(twice[0].parents[1] / "block.onnx")
    (expected,) = session.run(None, {"x": x})
    got = run(twice[0], {"x": x})
    # 100 products in sequence, and a softmax of values below 100
    np.testing.assert_allclose(got["y"], expected, rtol=0, atol=2e-5)


NODE = helper.make_node
SQUARE = (3, 4)
ODD: dict[str, tuple[list[Any], list[Value], list[Value], dict[str, np.ndarray], Any]] = {
    "identity": (
        [NODE("Identity", ["x"], ["y"])],
        [("x", SQUARE)],
        [("y", SQUARE)],
        {},
        lambda x: {"y": x},
    ),
    "view-only": (
        [NODE("Reshape", ["x", "shape"], ["y"])],
        [("x", SQUARE)],
        [("y", (12,))],
        {"shape": np.array([12])},
        lambda x: {"y": x.reshape(12)},
    ),
    "two-names": (
        [
            NODE("Relu", ["x"], ["a"]),
            NODE("Identity", ["a"], ["b"]),
            NODE("Identity", ["a"], ["c"]),
        ],
        [("x", SQUARE)],
        [("b", SQUARE), ("c", SQUARE), ("a", SQUARE)],
        {},
        lambda x: dict.fromkeys("bca", np.maximum(x, 0)),
    ),
    "constant": (
        [NODE("Identity", ["w"], ["y"]), NODE("Relu", ["x"], ["z"])],
        [("x", SQUARE)],
        [("y", (2, 3)), ("z", SQUARE)],
        {"w": seeded(2, 3)},
        lambda x: {"y": seeded(2, 3), "z": np.maximum(x, 0)},
    ),
    "scalar-output": (
        [NODE("ReduceMax", ["x"], ["y"], keepdims=0)],
        [("x", SQUARE)],
        [("y", ())],
        {},
        lambda x: {"y": x.max()},
    ),
    "names-that-are-no-identifiers": (
        [NODE("Relu", ["in/put:0"], ["1 out"])],
        [("in/put:0", SQUARE)],
        [("1 out", SQUARE)],
        {},
        lambda x: {"1 out": np.maximum(x, 0)},
    ),
    "input-is-output": (
        [NODE("Relu", ["x"], ["y"])],
        [("x", SQUARE)],
        [("y", SQUARE), ("x", SQUARE)],
        {},
        lambda x: {"y": np.maximum(x, 0), "x": x},
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_graphs(name: str, tmp_path: Path) -> None:
    nodes, inputs, outputs, weights, expected = ODD[name]
    model = save(tmp_path / "odd.onnx", nodes, inputs, outputs, **weights)
    build(model, out=tmp_path / "odd")
    x = seeded(*SQUARE)
    got = run(tmp_path / "odd", {inputs[0][0]: x})
    for key, array in expected(x).items():
        np.testing.assert_array_equal(got[key], array)


def test_names(tmp_path: Path) -> None:
    model = residual_block(tmp_path / "block.onnx")
    artifact = build(model, options=BuildOptions(name="chosen"), out=tmp_path / "other")
    assert (tmp_path / "other" / "libchosen.so").is_file()
    assert artifact is not None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("kws", "kws"),
        ("my model-v2", "my_model_v2"),
        ("3d", "m_3d"),
        ("..", "m_"),
        ("é" * 3, "m_"),
        ("x" * 80, "x" * 48),
    ],
)
def test_identifier(text: str, name: str) -> None:
    assert identifier(text) == name
    assert name.isidentifier()


def test_node_names_follow_variables_that_passes_renamed() -> None:
    nodes = {"conv": "block/Conv", "conv2": "block/Conv_2", "relu": "block/Relu"}
    groups = [("conv", "relu1"), ("conv21", "conv2"), ("lv",), ()]
    assert node_names(groups, nodes) == [
        ("block/Conv", "block/Relu"),
        ("block/Conv_2",),
        ("lv",),
        (),
    ]
