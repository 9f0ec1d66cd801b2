"""Damaged, hostile and oversized files become one clear error each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from footprint_compiler.errors import (
    FpcError,
    ModelFileError,
    ModelLimitError,
    UnsupportedModelError,
)
from footprint_compiler.frontend import import_model

from .harness import model

RELU = "g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }"


def test_missing_empty_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="does not exist"):
        import_model(tmp_path / "none.onnx")
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(ModelFileError, match="is empty"):
        import_model(tmp_path / "empty.onnx")
    with pytest.raises(ModelFileError, match="is a folder"):
        import_model(tmp_path)


@pytest.mark.parametrize("data", [b"hello, world", b"\x00" * 64, b"\xff" * 64, b"{}"])
def test_not_onnx(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelFileError):
        import_model(path)


def test_every_truncation_is_refused_or_still_a_model(tmp_path: Path) -> None:
    data = model(RELU).SerializeToString()
    path = tmp_path / "m.onnx"
    messages = []
    for length in range(1, len(data)):
        path.write_bytes(data[:length])
        try:
            import_model(path)
        except FpcError as error:
            messages.append(error.message)
    assert len(messages) > len(data) // 2
    assert not any("\n" in message for message in messages)


def test_name_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(
        model(RELU.replace("x", "name")).SerializeToString().replace(b"name", b"na\xff\xfe")
    )
    with pytest.raises(ModelFileError, match="not text"):
        import_model(path)


def test_initializers_that_are_also_inputs(caplog: pytest.LogCaptureFixture) -> None:
    """IR version 3 declares weights as inputs; they are constants, and nothing is logged."""
    proto = model(
        "g (float[2] x, float[2] w) => (float[2] y) { y = Add(x, w) }",
        {"w": np.ones(2, "float32")},
        ai_onnx=8,
    )
    proto.ir_version = 3
    graph = import_model(proto)
    assert [spec.name for spec in graph.inputs] == ["x"]
    assert not caplog.records


def test_opset_too_old_and_too_new() -> None:
    for version in (6, 999):
        with pytest.raises(ModelFileError, match=f"opset {version}"):
            import_model(model(RELU, ai_onnx=version))


def test_dimension_beyond_memory() -> None:
    text = "g (float[65536,65536] x) => (float[65536,65536] y) { y = Relu(x) }"
    with pytest.raises(ModelLimitError):
        import_model(model(text))


def test_tensor_beyond_memory() -> None:
    shape = np.array([1 << 20, 1 << 20], "int64")
    text = "g (float[1,1] x) => (float[n,m] y) { y = Expand(x, s) }"
    with pytest.raises(ModelLimitError, match="Expand"):
        import_model(model(text, {"s": shape}))


@pytest.mark.parametrize(
    ("line", "shape"),
    [
        ("y = ConstantOfShape(s)", [1 << 20, 1 << 20]),
        ("y = Tile(w, s)", [1 << 40]),
        ("a = Abs(s) y = ConstantOfShape(a)", [1 << 20, 1 << 20]),
        ("z = Constant <value: tensor = int64 {0}> () k = Squeeze(s) d = Constant "
         "<value: tensor = int64 {1}> () y = Range(z, k, d)", [1 << 50]),
    ],
)  # fmt: skip
def test_constant_that_would_fill_the_memory(line: str, shape: list[int]) -> None:
    weights = {"s": np.array(shape, "int64"), "w": np.ones(1, "float32")}
    with pytest.raises(ModelLimitError, match="elements"):
        import_model(model(f"g (float[1] x) => (float[n] y) {{ {line} }}", weights))


def test_endless_loop_of_constants_is_refused() -> None:
    text = """g (float[1] x) => (float[n] y) {
        many = Constant <value: tensor = int64 {4611686018427387904}> ()
        yes = Constant <value: tensor = bool {1}> ()
        one = Constant <value: tensor = float[1] {1}> ()
        y = Loop (many, yes, one) <body = b (int64 i, bool c, float[1] v) => (bool d, float[1] w) {
            d = Identity(c)
            w = Add(v, v)
        }>
    }"""
    with pytest.raises(UnsupportedModelError, match="Loop"):
        import_model(model(text))


def test_initializer_shorter_than_its_shape() -> None:
    proto = model(
        "g (float[2,3] x) => (float[2,3] y) { y = Add(x, w) }", {"w": np.ones((2, 3), "float32")}
    )
    proto.graph.initializer[0].raw_data = b"\x00\x01"
    with pytest.raises(ModelFileError, match="w"):
        import_model(proto)


def test_node_that_reads_nothing() -> None:
    with pytest.raises(ModelFileError, match="nothing computes"):
        import_model(model("g (float[2] x) => (float[2] y) { y = Add(x, z) }"))


def _external(folder: Path, location: str) -> Path:
    proto = model(
        "g (float[4] x) => (float[4] y) { y = Add(x, w) }", {"w": np.arange(4, dtype="float32")}
    )
    tensor = proto.graph.initializer[0]
    (folder / "w.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_external_data_is_read_and_hashed(tmp_path: Path) -> None:
    path = _external(tmp_path, "w.bin")
    first = import_model(path)
    (tmp_path / "w.bin").write_bytes(np.ones(4, "float32").tobytes())
    assert import_model(path).sha256 != first.sha256


def test_external_data_may_not_leave_the_folder(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "w.bin").write_bytes(b"\x00" * 16)
    for location in ("../w.bin", str(tmp_path / "w.bin"), "missing.bin"):
        with pytest.raises(ModelFileError, match="beside the model"):
            import_model(_external(inside, location))


def test_external_data_may_not_leave_the_folder_through_a_link(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    path = _external(inside, "link.bin")
    (inside / "w.bin").rename(tmp_path / "w.bin")
    (inside / "link.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(ModelFileError, match="beside the model"):
        import_model(path)
