"""Calibration data of every kind, and what is said about data that do not fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from footprint_compiler.calibration.samples import load_dataset
from footprint_compiler.errors import InputDataError, UsageError
from footprint_compiler.tensor import TensorSpec

SPECS = (TensorSpec("x", (1, 2, 3), "float32"),)
TWO = (*SPECS, TensorSpec("t", (1,), "int64"))


def numbers(count: int = 40) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, 1, 2, 3)).astype(np.float32)


def generated() -> Iterator[np.ndarray]:
    """What ``module:callable`` may name."""
    yield from numbers(3)


def test_npz_by_name_with_labels(tmp_path: Path) -> None:
    file, x = tmp_path / "a.npz", numbers()
    np.savez(file, x=x, other=x, y=np.arange(40, dtype=np.uint8), labels=np.array(["a", "b"]))
    data = load_dataset(file, SPECS)
    assert len(data.samples) == 40
    np.testing.assert_array_equal(data.samples[7]["x"], x[7])
    assert data.labels is not None
    assert data.labels.tolist() == list(range(40))
    assert data.warnings == ()


def test_the_only_array_that_fits_and_a_missing_first_axis(tmp_path: Path) -> None:
    file, x = tmp_path / "a.npz", numbers()[:, 0]
    np.savez(file, floats=x, codes=x.astype(np.int8))
    data = load_dataset(file, SPECS)
    assert data.samples[3]["x"].shape == (1, 2, 3)
    np.testing.assert_array_equal(data.samples[3]["x"][0], x[3])


def test_several_inputs(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, x=numbers(4), t=np.arange(4).reshape(4, 1))
    data = load_dataset(file, TWO)
    assert [int(s["t"][0]) for s in data.samples] == [0, 1, 2, 3]
    np.savez(file, x=numbers(4), t=np.arange(3).reshape(3, 1))
    with pytest.raises(InputDataError, match="different numbers of samples"):
        load_dataset(file, TWO)


def test_folder_of_npy_and_csv_agree(tmp_path: Path) -> None:
    x = numbers(3).astype(np.float64)
    for index, sample in enumerate(x):
        np.save(tmp_path / f"{index}.npy", sample.astype(np.float32))
    rows = "\n".join(",".join(repr(float(v)) for v in s.ravel()) for s in x)
    table = tmp_path.with_suffix(".csv")
    table.write_text(f"a,b,c,d,e,f\n{rows}\n")
    folder, text = load_dataset(tmp_path, SPECS), load_dataset(table, SPECS)
    for one, other in zip(folder.samples, text.samples, strict=True):
        np.testing.assert_array_equal(one["x"], other["x"])
    table.write_text("1,2,3\n")
    with pytest.raises(InputDataError, match=r"line 1: 3 numbers, input 'x' takes 6"):
        load_dataset(table, SPECS)
    table.write_text("1,2,3,4,5,6\n1,2,x,4,5,6\n")
    with pytest.raises(InputDataError, match="line 2"):
        load_dataset(table, SPECS)


def test_callable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    data = load_dataset("test_samples:generated", SPECS)
    assert len(data.samples) == 3
    with pytest.raises(InputDataError, match="cannot import"):
        load_dataset("test_samples:nothing", SPECS)


def test_random_is_refused_unless_allowed() -> None:
    with pytest.raises(UsageError, match="random"):
        load_dataset("random", SPECS)
    assert len(load_dataset("random", SPECS, allow_random=True).samples) == 32


def test_warnings_carry_numbers(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, x=np.full((5, 1, 2, 3), 2.5, np.float32))
    warnings = load_dataset(file, SPECS).warnings
    assert any("5 samples" in line for line in warnings)
    assert any("constant: 2.5" in line for line in warnings)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 1, 2, 4), np.float32), r"shape \(1, 2, 4\), the model takes \(1, 2, 3\)"),
        (np.zeros((4, 1, 2, 3), np.uint8), "is uint8, the model takes float32"),
        (np.zeros((0, 1, 2, 3), np.float32), "0 samples"),
        (np.where(np.arange(24).reshape(4, 1, 2, 3) == 13, np.nan, 0).astype(np.float32),
         "sample 2 of input 'x' has 1 values that are NaN"),
    ],
)  # fmt: skip
def test_data_that_do_not_fit(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.savez(tmp_path / "a.npz", x=array)
    with pytest.raises(InputDataError, match=message):
        load_dataset(tmp_path / "a.npz", SPECS)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK nothing")
    with pytest.raises(InputDataError, match=r"not a valid \.npz"):
        load_dataset(tmp_path / "a.npz", SPECS)
    with pytest.raises(InputDataError, match="cannot read"):
        load_dataset(tmp_path / "b.npz", SPECS)
    np.savez(tmp_path / "c.npz", z=np.zeros((2, 2), np.int32))
    with pytest.raises(InputDataError, match="has no array 'x'; it has z int32"):
        load_dataset(tmp_path / "c.npz", SPECS)
