"""Input and output data: read, check, make, write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from footprint_compiler.errors import InputDataError, OutputError
from footprint_compiler.samples import random_samples, read_samples, write_sample
from footprint_compiler.tensor import TensorSpec

X = TensorSpec("x", (1, 3), "float32")
IDS = TensorSpec("ids:0", (2,), "int64")


def test_one_sample(tmp_path):
    np.savez(tmp_path / "in.npz", **{"x": np.ones((1, 3), "f4"), "ids:0": np.arange(2), "y": 5})
    given = read_samples(tmp_path / "in.npz", [X, IDS])
    assert not given.stacked
    assert [set(sample) for sample in given.samples] == [{"x", "ids:0"}]


def test_stacked_samples(tmp_path):
    stack = np.arange(12, dtype="f4").reshape(4, 1, 3)
    np.savez(tmp_path / "in.npz", x=stack)
    given = read_samples(tmp_path / "in.npz", [X])
    assert given.stacked
    assert len(given.samples) == 4
    np.testing.assert_array_equal(given.samples[2]["x"], stack[2])


def test_one_npy_for_one_input(tmp_path):
    np.save(tmp_path / "in.npy", np.ones((1, 3), "f4"))
    assert len(read_samples(tmp_path / "in.npy", [X]).samples) == 1
    with pytest.raises(InputDataError, match="holds one array, the model has 2 inputs"):
        read_samples(tmp_path / "in.npy", [X, IDS])


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({}, "has no array 'x'; it has nothing"),
        ({"y": np.zeros((1, 3), "f4")}, "has no array 'x'; it has y"),
        ({"x": np.zeros((1, 4), "f4")}, "shape"),
        ({"x": np.zeros((3,), "f4")}, "shape"),
        ({"x": np.zeros((0, 1, 3), "f4")}, "holds 0 samples"),
        ({"x": np.zeros((1, 3), "f8")}, "float64"),
        ({"x": np.zeros((1, 3), "i8")}, "int64"),
        ({"x": np.array([["a", "b", "c"]])}, "<U1"),
        ({"x": np.array([[1, np.nan, 2]], "f4")}, "NaN"),
        ({"x": np.array([[1, None, 2]], object)}, "is not a valid"),
    ],
)
def test_data_that_does_not_fit(tmp_path, arrays, says):
    np.savez(tmp_path / "in.npz", **arrays)
    with pytest.raises(InputDataError, match=says):
        read_samples(tmp_path / "in.npz", [X])


def test_nan_can_be_allowed(tmp_path):
    np.savez(tmp_path / "in.npz", x=np.full((1, 3), np.nan, "f4"))
    assert len(read_samples(tmp_path / "in.npz", [X], allow_nan=True).samples) == 1


def test_stacks_of_different_length(tmp_path):
    np.savez(tmp_path / "in.npz", **{"x": np.ones((4, 1, 3), "f4"), "ids:0": np.ones((5, 2), "i8")})
    with pytest.raises(InputDataError, match=r"different numbers of samples: \[4, 5\]"):
        read_samples(tmp_path / "in.npz", [X, IDS])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04broken", b"\x93NUMPY\x01\x00", b"text"])
def test_files_that_are_no_arrays(tmp_path, content):
    (tmp_path / "in.npz").write_bytes(content)
    with pytest.raises(InputDataError, match="is not a valid"):
        read_samples(tmp_path / "in.npz", [X])


def test_a_damaged_member_of_an_npz(tmp_path):
    np.savez(tmp_path / "in.npz", x=np.ones((1, 3), "f4"))
    content = bytearray((tmp_path / "in.npz").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "in.npz").write_bytes(content)
    with pytest.raises(InputDataError):
        read_samples(tmp_path / "in.npz", [X])


def test_a_header_that_asks_for_too_much_memory(tmp_path):
    np.save(tmp_path / "in.npy", np.ones((1, 3), "f4"))
    content = (tmp_path / "in.npy").read_bytes()
    shape, wild_shape = b"(1, 3), }", b"(999999999999999, 3), }"
    padding = b" " * (len(wild_shape) - len(shape))
    assert shape + padding in content
    wild = content.replace(shape + padding, wild_shape)
    (tmp_path / "in.npy").write_bytes(wild)
    with pytest.raises(InputDataError):
        read_samples(tmp_path / "in.npy", [X])


@pytest.mark.parametrize("name", ["missing.npz", "."])
def test_paths_that_cannot_be_read(tmp_path, name):
    with pytest.raises(InputDataError, match="cannot read"):
        read_samples(tmp_path / name, [X])


def test_random_samples_are_seeded_and_cover_the_dtype():
    specs = [X, IDS, *(TensorSpec(d, (64,), d) for d in ("int8", "uint8", "bool", "float16"))]
    first, second = (list(random_samples(specs, 3, seed=7)) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        for spec in specs:
            np.testing.assert_array_equal(a[spec.name], b[spec.name])
            assert a[spec.name].dtype.name == spec.dtype
            assert a[spec.name].shape == spec.shape
    assert first[0]["int8"].min() < -64
    assert first[0]["int8"].max() > 64
    assert set(np.concatenate([s["ids:0"] for s in first])) <= {0, 1}
    other = next(random_samples(specs, 1, seed=8))
    assert not np.array_equal(other["x"], first[0]["x"])


def test_written_outputs_are_read_back_by_numpy_under_any_name(tmp_path):
    outputs = {"file": np.arange(3), "a/b:0": np.float32(2), "c": np.zeros((0, 4), bool)}
    write_sample(tmp_path / "out.npz", outputs)
    with np.load(tmp_path / "out.npz") as loaded:
        assert set(loaded.files) == set(outputs)
        for name, array in outputs.items():
            np.testing.assert_array_equal(loaded[name], array)
    assert [path.name for path in tmp_path.iterdir()] == ["out.npz"]


def test_an_output_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    for path in (tmp_path / "folder.npz", tmp_path / "missing" / "out.npz"):
        with pytest.raises(OutputError, match="cannot write"):
            write_sample(path, {"x": np.ones(3)})
    assert [path.name for path in tmp_path.rglob("*")] == ["folder.npz"]


def test_a_failed_write_keeps_the_file_that_was_there(tmp_path):
    out = tmp_path / "out.npz"
    out.write_bytes(b"precious")
    with pytest.raises(ValueError, match="pickle"):
        write_sample(out, {"x": np.array([None])})
    assert out.read_bytes() == b"precious"
    assert [path.name for path in tmp_path.iterdir()] == ["out.npz"]


def test_a_full_disk_is_an_output_error():
    with pytest.raises(OutputError, match="No space left"):
        write_sample(Path("/dev/full"), {"x": np.ones(100_000)})
