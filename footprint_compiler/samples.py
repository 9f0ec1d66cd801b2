"""Input and output data of a model: read, check against its specs, make at random, write.

A sample is a dict of one array per input, keyed by the model's own tensor names. A file may hold
several: then every array has one more axis, the first, of equal length.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from footprint_compiler.errors import InputDataError, OutputError
from footprint_compiler.runtime.check import check_inputs, numpy_dtype
from footprint_compiler.tensor import TensorSpec

Sample = dict[str, np.ndarray]


@dataclass(frozen=True)
class SampleFile:
    """Samples of one file; ``stacked`` when its arrays had the extra axis."""

    samples: tuple[Sample, ...]
    stacked: bool


def read_samples(path: Path, specs: Sequence[TensorSpec], *, allow_nan: bool = False) -> SampleFile:
    """Read an .npz, or an .npy when the model has one input, and check it.

    Keys that are no input of the model (labels, for example) are left out.

    Raises:
        InputDataError: unreadable file; an input is missing, has another shape or dtype, or
            holds NaN that ``allow_nan`` does not permit.
    """
    arrays = _read_arrays(path, specs)
    for spec in specs:
        if spec.name not in arrays:
            have = ", ".join(sorted(arrays)) or "nothing"
            raise InputDataError(f"{path} has no array {spec.name!r}; it has {have}")
    count = _sample_count(path, specs, arrays)
    if count is None:
        samples = [{spec.name: arrays[spec.name] for spec in specs}]
    else:
        samples = [{spec.name: arrays[spec.name][i] for spec in specs} for i in range(count)]
    for sample in samples:
        check_inputs(specs, sample, allow_nan=allow_nan)
    return SampleFile(tuple(samples), stacked=count is not None)


def random_samples(specs: Sequence[TensorSpec], count: int, seed: int) -> Iterator[Sample]:
    """Yield ``count`` samples, the same for the same seed.

    Floats are uniform in [-1, 1); int8, uint8 and bool cover their range; wider integers are 0 or
    1, which is a valid index for every table of two rows or more.
    """
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield {spec.name: _random_array(spec, rng) for spec in specs}


def write_sample(path: Path, sample: Sample) -> None:
    """Write an .npz next to its final place and move it there; OutputError when impossible.

    A device such as /dev/null is written to, not replaced.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        if path.exists() and not path.is_file():
            with open(path, "wb") as file:
                _write_npz(file, sample)
            return
        try:
            with open(part, "wb") as file:
                _write_npz(file, sample)
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"cannot write {path}: {reason}") from error


def _write_npz(file: IO[bytes], sample: Sample) -> None:
    """As ``numpy.savez``, but any tensor name is a key, also ``file``."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in sample.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


def _read_arrays(path: Path, specs: Sequence[TensorSpec]) -> Sample:
    try:
        with open(path, "rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.ndarray):
                return {name: np.asarray(loaded[name]) for name in loaded.files}
    except OSError as error:
        reason = error.strerror or "not readable"
        raise InputDataError(f"cannot read {path}: {reason}") from error
    except Exception as error:  # NumPy's readers raise many types on damaged files
        raise InputDataError(f"{path} is not a valid .npz or .npy file") from error
    if len(specs) != 1:
        names = ", ".join(spec.name for spec in specs)
        raise InputDataError(
            f"{path} holds one array, the model has {len(specs)} inputs",
            f"Give an .npz with the arrays {names}.",
        )
    return {specs[0].name: loaded}


def _sample_count(path: Path, specs: Sequence[TensorSpec], arrays: Sample) -> int | None:
    """The common length of the extra first axis, or None where the file holds one sample."""
    shapes = [(arrays[spec.name].shape, spec.shape) for spec in specs]
    if not specs or any(len(has) != len(one) + 1 or has[1:] != one for has, one in shapes):
        return None
    counts = {len(arrays[spec.name]) for spec in specs}
    if len(counts) > 1:
        raise InputDataError(f"{path}: inputs have different numbers of samples: {sorted(counts)}")
    if counts == {0}:
        raise InputDataError(f"{path} holds 0 samples")
    return counts.pop()


def _random_array(spec: TensorSpec, rng: np.random.Generator) -> np.ndarray:
    if spec.dtype == "bool":
        return rng.integers(0, 2, spec.shape).astype(bool)
    if spec.dtype in ("int8", "uint8"):
        limits = np.iinfo(spec.dtype)
        return rng.integers(limits.min, limits.max, spec.shape, spec.dtype, endpoint=True)
    if "int" in spec.dtype:
        return rng.integers(0, 2, spec.shape).astype(spec.dtype)
    return np.asarray(rng.uniform(-1, 1, spec.shape)).astype(numpy_dtype(spec.dtype))
