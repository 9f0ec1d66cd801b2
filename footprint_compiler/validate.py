"""Compare a build with ONNX Runtime on the model it was made from.

The reference evaluates the ONNX file as written: its graph optimizations are off, so that a
quantized model is computed in the arithmetic that its QuantizeLinear nodes spell out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from footprint_compiler.errors import InputDataError, ModelFileError
from footprint_compiler.runtime.check import numpy_dtype
from footprint_compiler.samples import Sample
from footprint_compiler.tensor import TensorSpec

FLOAT_TOLERANCE = 1e-4
QUANTIZED_TOLERANCE_LSB = 1.0

Run = Callable[[Sample], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class OutputReport:
    """How far one output is from the reference, over all samples.

    Attributes:
        name: of the output.
        max_abs: largest absolute difference, in the output's own units.
        rmse: root of the mean squared difference.
        cosine: similarity of the two outputs as one long vector; 1.0 when both are zero.
        top1: share of samples whose largest element is the same; None for single elements.
        limit: the largest ``max_abs`` that passes.
        limit_means: how the limit was found.
    """

    name: str
    max_abs: float
    rmse: float
    cosine: float
    top1: float | None
    limit: float
    limit_means: str

    @property
    def passed(self) -> bool:
        """Whether the output is within its limit; NaN never is."""
        return self.max_abs <= self.limit


@dataclass(frozen=True)
class ValidationReport:
    """Result of ``validate``: one report per output."""

    outputs: tuple[OutputReport, ...]
    samples: int

    @property
    def passed(self) -> bool:
        """Whether every output is within its limit."""
        return all(output.passed for output in self.outputs)


def validate(
    run: Run,
    reference: Run,
    samples: Iterable[Sample],
    outputs: Sequence[TensorSpec],
    tolerance: float | None = None,
    tolerance_lsb: float | None = None,
) -> ValidationReport:
    """Run every sample through both and compare each output.

    Args:
        run, reference: from one sample to its outputs by name.
        outputs: specs of the outputs to compare.
        tolerance: see ``limit_of``.
        tolerance_lsb: the same for quantized outputs alone.
    """
    ours: dict[str, list[np.ndarray]] = {spec.name: [] for spec in outputs}
    theirs: dict[str, list[np.ndarray]] = {spec.name: [] for spec in outputs}
    count = 0
    for sample in samples:
        count += 1
        got, expected = run(sample), reference(sample)
        for spec in outputs:
            ours[spec.name].append(np.asarray(got[spec.name]))
            theirs[spec.name].append(np.asarray(expected[spec.name]))
    if not count:
        raise InputDataError("there is no sample to validate with")
    reports = (
        compare(
            spec,
            np.stack(ours[spec.name]),
            np.stack(theirs[spec.name]),
            tolerance if spec.scale is None or tolerance_lsb is None else tolerance_lsb,
        )
        for spec in outputs
    )
    return ValidationReport(tuple(reports), count)


def compare(
    spec: TensorSpec, got: np.ndarray, expected: np.ndarray, tolerance: float | None = None
) -> OutputReport:
    """Compare one output; both arrays have the shape (samples, *spec.shape)."""
    if got.shape != expected.shape:
        raise InputDataError(
            f"output {spec.name!r} has shape {list(got.shape[1:])}, "
            f"the reference has {list(expected.shape[1:])}",
            "Give the model that the build was made from.",
        )
    limit, means = limit_of(spec, expected, tolerance)
    ours, theirs = got.astype(np.float64), expected.astype(np.float64)
    difference = _difference(ours, theirs)
    return OutputReport(
        name=spec.name,
        max_abs=float(difference.max(initial=0.0)),
        rmse=float(np.sqrt(np.mean(difference**2))) if difference.size else 0.0,
        cosine=_cosine(ours, theirs),
        top1=_top1(ours, theirs),
        limit=limit,
        limit_means=means,
    )


def limit_of(
    spec: TensorSpec, expected: np.ndarray, tolerance: float | None = None
) -> tuple[float, str]:
    """The largest difference that passes, and in words how it was found.

    Quantized outputs: ``tolerance`` in LSB (1 by default). Float outputs: ``tolerance`` (1e-4 by
    default) times the range of the reference over all samples; times its largest magnitude where
    it is constant; alone where it is zero. Other integers and booleans are exact.
    """
    if spec.scale is not None:
        lsb = QUANTIZED_TOLERANCE_LSB if tolerance is None else tolerance
        # A float output is a multiple of the scale, rounded to float32.
        unit = spec.scale * (1 + 1e-4) if "float" in spec.dtype else 1.0
        return lsb * unit, f"{lsb:g} LSB"
    if "float" not in spec.dtype:
        return 0.0, "exact"
    relative = FLOAT_TOLERANCE if tolerance is None else tolerance
    finite = expected[np.isfinite(expected)].astype(np.float64)
    width = float(np.ptp(finite)) if finite.size else 0.0
    width = width or float(np.abs(finite).max(initial=0.0)) or 1.0
    return relative * width, f"{relative:g} x range"


def onnxruntime_session(model: Path, optimized: bool = False, threads: int = 1) -> Any:
    """An ONNX Runtime CPU session; ModelFileError when it cannot load the model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 4
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = (
        levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    )
    if not model.is_file():
        raise ModelFileError(f"no such model file: {model}", "Check the path.")
    try:
        return onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime raises many types that share no base class
        raise ModelFileError(f"ONNX Runtime cannot load {model}: {error}") from error


def constant_feeds(session: Any, constants: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Arrays for the inputs that a build made constant, in the dtypes that the model asks for."""
    given = {put.name: put for put in session.get_inputs()}
    return {
        name: np.asarray(value, numpy_dtype(_ORT_DTYPES.get(given[name].type, "float32")))
        for name, value in constants.items()
        if name in given
    }


def onnxruntime_reference(
    model: Path, outputs: Sequence[TensorSpec], constants: Mapping[str, Any] | None = None
) -> Run:
    """A function from a sample to the reference outputs.

    Args:
        constants: values of the inputs that the build made constant.
    """
    session = onnxruntime_session(model)
    given = {put.name: put for put in session.get_inputs()}
    missing = [s.name for s in outputs if s.name not in {o.name for o in session.get_outputs()}]
    if missing:
        raise ModelFileError(
            f"{model} has no output {missing[0]!r}", "Give the model that the build was made from."
        )
    fixed = constant_feeds(session, constants or {})
    names = [spec.name for spec in outputs]

    def run(sample: Sample) -> Mapping[str, np.ndarray]:
        feeds = {name: a for name, a in {**fixed, **sample}.items() if name in given}
        try:
            return dict(zip(names, session.run(names, feeds), strict=True))
        except Exception as error:  # as above
            raise ModelFileError(
                f"ONNX Runtime cannot run {model}: {error}",
                "Give the model that the build was made from, and its --constant values.",
            ) from error

    return run


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes; ModelFileError when it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}", "Check the path.") from error


_ORT_DTYPES = {
    "tensor(bool)": "bool",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int16)": "int16",
    "tensor(uint16)": "uint16",
    "tensor(int32)": "int32",
    "tensor(uint32)": "uint32",
    "tensor(int64)": "int64",
    "tensor(uint64)": "uint64",
    "tensor(float16)": "float16",
    "tensor(bfloat16)": "bfloat16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
}


def _difference(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Absolute difference; 0 where both are the same infinity or both NaN, else infinity."""
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    with np.errstate(invalid="ignore"):
        difference = np.abs(ours - theirs)
    difference = np.where(np.isnan(difference), np.inf, difference)
    return np.where(same, 0.0, difference)


def _cosine(ours: np.ndarray, theirs: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        norms = np.linalg.norm(ours) * np.linalg.norm(theirs)
        if not norms:
            return float(np.array_equal(ours, theirs))
        return float(np.vdot(ours, theirs) / norms)


def _top1(ours: np.ndarray, theirs: np.ndarray) -> float | None:
    flat = ours.reshape(len(ours), -1), theirs.reshape(len(theirs), -1)
    if flat[0].shape[1] < 2:
        return None
    return float(np.mean(flat[0].argmax(axis=1) == flat[1].argmax(axis=1)))
