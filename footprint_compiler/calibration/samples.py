"""Calibration and evaluation data, wherever they come from.

=====================  ===========================================================================
``data.npz``           one array per input, samples along the first axis; class indices or target
                       values, if any, under ``labels``, ``label``, ``y`` or ``targets``
``folder`` of .npy     one sample per file, for models with one input; sorted by name
``data.csv``           one sample per row, for models with one input; a header row is skipped
``folder`` of images   PNG or PPM, with a ``Preprocess``; sorted by name
``module:callable``    an iterable of samples: arrays, or dicts of arrays by input name
``random``             only where it is allowed: nothing can be learned from it
=====================  ===========================================================================
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from footprint_compiler.calibration.images import IMAGE_SUFFIXES, Preprocess, read_images
from footprint_compiler.errors import InputDataError, UsageError
from footprint_compiler.runtime.check import numpy_dtype
from footprint_compiler.samples import Sample, random_samples
from footprint_compiler.tensor import TensorSpec

FEW_SAMPLES = 32
MAX_SAMPLES = 100_000
LABELS = ("labels", "label", "y", "targets")


@dataclass(frozen=True)
class Dataset:
    """Samples that fit the model.

    Attributes:
        labels: one class index per sample, or target values, where the data have them.
        warnings: lines for the user.
    """

    samples: tuple[Sample, ...]
    labels: np.ndarray | None = None
    warnings: tuple[str, ...] = ()


def load_dataset(
    source: str | Path,
    specs: Sequence[TensorSpec],
    *,
    preprocess: Preprocess | None = None,
    allow_random: bool = False,
    few: int = FEW_SAMPLES,
) -> Dataset:
    """Read and check.

    Args:
        specs: inputs of the model.
        preprocess: for images.
        few: fewer samples than this are worth a warning.

    Raises:
        InputDataError: unreadable, wrong name, shape or dtype, NaN or infinity.
        UsageError: random data that were not allowed.
    """
    if not specs:
        raise InputDataError("the model has no inputs, so there is nothing to calibrate")
    text, path = str(source), Path(source)
    labels: np.ndarray | None = None
    if text == "random":
        if not allow_random:
            raise UsageError(
                "random data say nothing about the ranges of a model",
                "Give real samples, or add --allow-random-calibration for an experiment.",
            )
        samples: list[Sample] = list(random_samples(specs, few, seed=0))
    elif path.is_dir():
        samples = _folder(path, specs, preprocess)
    elif path.suffix == ".csv":
        samples = _csv(path, _only(specs, text))
    elif path.suffix in (".npz", ".npy"):
        samples, labels = _numpy(path, specs)
    elif ":" in text and not path.exists():
        samples = _callable(text, specs)
    else:
        raise InputDataError(
            f"{text} is no .npz, .npy, .csv, folder or module:callable", "Check the path."
        )
    if not samples:
        raise InputDataError(f"{text} holds 0 samples")
    return Dataset(tuple(samples), labels, tuple(_check(text, specs, samples, few)))


def _check(
    source: str, specs: Sequence[TensorSpec], samples: Sequence[Sample], few: int
) -> list[str]:
    """Warnings; errors for values that no calibration survives."""
    warnings = []
    if len(samples) < few:
        warnings.append(f"{source} has {len(samples)} samples; {few} or more are better")
    for spec in specs:
        if not spec.dtype.startswith(("float", "bfloat")):
            continue
        low, high = np.inf, -np.inf
        for index, sample in enumerate(samples):
            array = sample[spec.name]
            bad = int(np.count_nonzero(~np.isfinite(array)))
            if bad:
                raise InputDataError(
                    f"{source}: sample {index} of input {spec.name!r} has {bad} values that are "
                    "NaN or infinite",
                    "Remove the sample.",
                )
            low, high = min(low, float(array.min())), max(high, float(array.max()))
        if low == high:
            warnings.append(f"{source}: input {spec.name!r} is constant: {low:g} everywhere")
    return warnings


def fit(spec: TensorSpec, array: np.ndarray, where: str) -> np.ndarray:
    """One sample in the shape of the input; a missing first axis of 1 is added.

    Raises:
        InputDataError: another shape or dtype.
    """
    if array.shape != spec.shape and (1, *array.shape) == spec.shape:
        array = array[None]
    if array.shape != spec.shape:
        raise InputDataError(
            f"{where}: a sample of input {spec.name!r} has shape {array.shape}, "
            f"the model takes {spec.shape}"
        )
    if array.dtype == np.float64 and spec.dtype == "float32":
        array = array.astype(np.float32)
    if array.dtype.newbyteorder("=") != numpy_dtype(spec.dtype):
        raise InputDataError(
            f"{where}: input {spec.name!r} is {array.dtype}, the model takes {spec.dtype}",
            f"Convert it with array.astype({spec.dtype!r}), after the scaling it needs.",
        )
    return np.ascontiguousarray(array)


def _only(specs: Sequence[TensorSpec], source: str) -> TensorSpec:
    if len(specs) != 1:
        names = ", ".join(spec.name for spec in specs)
        raise InputDataError(
            f"{source} gives one array for each sample, the model has {len(specs)} inputs",
            f"Give an .npz with the arrays {names}.",
        )
    return specs[0]


def _load(path: Path) -> dict[str, np.ndarray] | np.ndarray:
    try:
        with open(path, "rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            return {name: np.asarray(loaded[name]) for name in loaded.files}
    except OSError as error:
        raise InputDataError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # NumPy's readers raise many types on damaged files
        raise InputDataError(f"{path} is not a valid .npz or .npy file") from error


def _numpy(path: Path, specs: Sequence[TensorSpec]) -> tuple[list[Sample], np.ndarray | None]:
    loaded = _load(path)
    arrays = {_only(specs, str(path)).name: loaded} if isinstance(loaded, np.ndarray) else loaded
    chosen = {spec.name: _array_of(path, spec, specs, arrays) for spec in specs}
    counts = {len(array) for array in chosen.values()}
    if len(counts) > 1:
        raise InputDataError(f"{path}: inputs have different numbers of samples: {sorted(counts)}")
    count = counts.pop()
    where = str(path)
    samples = [
        {spec.name: fit(spec, chosen[spec.name][i], where) for spec in specs} for i in range(count)
    ]
    for name in LABELS:
        labels = arrays.get(name)
        if labels is None or name in chosen or len(np.atleast_1d(labels)) != count:
            continue
        if labels.dtype.kind in "iu" and labels.size == count:
            return samples, labels.reshape(count).astype(np.int64)
        if labels.dtype.kind in "iuf":
            return samples, labels.astype(np.float64)
    return samples, None


def _array_of(
    path: Path, spec: TensorSpec, specs: Sequence[TensorSpec], arrays: dict[str, np.ndarray]
) -> np.ndarray:
    """The array of an input: by name, or the only one that fits a model with one input."""
    if spec.name in arrays:
        array = arrays[spec.name]
        return array[None] if array.shape == spec.shape else array
    fitting = [
        name
        for name, array in arrays.items()
        if array.dtype == numpy_dtype(spec.dtype)
        and array.shape[1:] in (spec.shape, spec.shape[1:] if spec.shape[:1] == (1,) else None)
    ]
    if len(specs) == 1 and len(fitting) == 1:
        return arrays[fitting[0]]
    have = ", ".join(f"{k} {v.dtype}{list(v.shape)}" for k, v in sorted(arrays.items()))
    raise InputDataError(
        f"{path} has no array {spec.name!r}; it has {have or 'nothing'}",
        f"Store {spec.name!r} as {spec.dtype} of shape (samples, "
        f"{', '.join(map(str, spec.shape))}).",
    )


def _folder(path: Path, specs: Sequence[TensorSpec], preprocess: Preprocess | None) -> list[Sample]:
    files = sorted(item for item in path.iterdir() if item.is_file())
    spec = _only(specs, str(path))
    arrays = [file for file in files if file.suffix == ".npy"]
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    if arrays and images:
        raise InputDataError(f"{path} holds .npy files and images", "Keep one kind in a folder.")
    if images:
        return read_images(images, spec, preprocess or Preprocess())
    samples = []
    for file in arrays:
        array = _load(file)
        if not isinstance(array, np.ndarray):
            raise InputDataError(f"{file} holds several arrays")
        samples.append({spec.name: fit(spec, array, str(file))})
    if not samples:
        raise InputDataError(f"{path} holds no .npy file and no image that fpc reads")
    return samples


def _csv(path: Path, spec: TensorSpec) -> list[Sample]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputDataError(f"cannot read {path}: {error}") from error
    size = int(np.prod(spec.shape))
    samples = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = np.array([float(cell) for cell in line.split(",")])
        except ValueError:
            if number == 1:
                continue
            raise InputDataError(f"{path}, line {number}: not a row of numbers") from None
        if row.size != size:
            raise InputDataError(
                f"{path}, line {number}: {row.size} numbers, input {spec.name!r} takes {size}"
            )
        samples.append({spec.name: row.reshape(spec.shape).astype(numpy_dtype(spec.dtype))})
    return samples


def _callable(text: str, specs: Sequence[TensorSpec]) -> list[Sample]:
    module, _, name = text.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputDataError(f"cannot import {text}: {error}", "Check PYTHONPATH.") from error
    samples: list[Sample] = []
    for item in function():
        given: Any = item if isinstance(item, dict) else {_only(specs, text).name: item}
        missing = [spec.name for spec in specs if spec.name not in given]
        if missing:
            raise InputDataError(f"{text}: sample {len(samples)} has no input {missing[0]!r}")
        if len(samples) == MAX_SAMPLES:
            raise InputDataError(f"{text} yields more than {MAX_SAMPLES} samples", "Let it end.")
        samples.append({s.name: fit(s, np.asarray(given[s.name]), text) for s in specs})
    return samples
