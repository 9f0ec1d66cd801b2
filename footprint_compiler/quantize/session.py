"""From the words of a command to a quantized model: read, quantize, evaluate or hold a bound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from footprint_compiler.calibration.images import parse_preprocess
from footprint_compiler.calibration.samples import Dataset, load_dataset
from footprint_compiler.errors import UsageError
from footprint_compiler.progress import Reporter
from footprint_compiler.quantize.evaluate import Comparison, compare
from footprint_compiler.quantize.gate import Decision, Footprint, hold_bound
from footprint_compiler.quantize.prepare import prepare
from footprint_compiler.quantize.quantizer import Quantized, QuantizeOptions, quantize

PRECISIONS = {
    "int8": None,
    "int16": "16-bit activations have no integer kernels yet",
    "int4": "4-bit weights have no integer kernels yet",
}
"""Precision -> why it is refused, or None."""


@dataclass(frozen=True)
class Request:
    """What a user asks for.

    Attributes:
        data, evaluation: sources as ``load_dataset`` takes them.
        preprocess: for images, see ``parse_preprocess``.
        max_drop: bound in percentage points; it needs ``evaluation``.
        shapes, constants: as in a build.
    """

    data: str
    evaluation: str | None = None
    preprocess: str = ""
    allow_random: bool = False
    max_drop: float | None = None
    precision: str = "int8"
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    constants: Mapping[str, str | int | float] = field(default_factory=dict)
    options: QuantizeOptions = field(default_factory=QuantizeOptions)


@dataclass(frozen=True)
class Outcome:
    """The model, and what was measured.

    Attributes:
        model: QDQ ONNX; some layers in float where the bound asked for it.
        comparison: with the float model on the evaluation data, if any.
        decision: of the gate, where there was a bound.
        evaluation: the evaluation data.
    """

    model: onnx.ModelProto
    made: Quantized
    comparison: Comparison | None
    decision: Decision | None
    evaluation: Dataset | None


def run(
    model: str | Path,
    request: Request,
    reporter: Reporter | None = None,
    footprint: Footprint | None = None,
) -> Outcome:
    """Quantize a file.

    Raises:
        FpcError: a subclass for everything that a user can mend; ``AccuracyError`` where no mix
            of int8 and float layers holds the bound.
    """
    reporter = reporter or Reporter()
    check_request(request)
    reporter.phase("prepare the model")
    prepared, specs = prepare(model, request.shapes, request.constants)
    reporter.phase("read the data")
    images = parse_preprocess(request.preprocess)
    allowed = request.allow_random
    data = load_dataset(request.data, specs, preprocess=images, allow_random=allowed)
    evaluation = None
    if request.evaluation is not None:
        evaluation = load_dataset(request.evaluation, specs, preprocess=images)
    for line in (*data.warnings, *(evaluation.warnings if evaluation else ())):
        reporter.log(line, "warning")
    made = quantize(prepared, data.samples, request.options, reporter)
    if evaluation is None:
        return Outcome(made.model, made, None, None, None)
    if request.max_drop is None:
        reporter.phase("evaluate")
        return Outcome(
            made.model, made, compare(made.bench.model, made.model, evaluation), None, evaluation
        )
    reporter.phase("hold the bound")
    decision = hold_bound(made, evaluation, request.max_drop, footprint, reporter)
    return Outcome(decision.model, made, decision.chosen.comparison, decision, evaluation)


def check_request(request: Request) -> None:
    """UsageError for what does not go together or is not supported."""
    if request.precision not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise UsageError(f"unknown precision {request.precision!r}", f"Known: {known}.")
    refusal = PRECISIONS[request.precision]
    if refusal is not None:
        raise UsageError(f"{request.precision} is refused: {refusal}", "Use int8.")
    if request.max_drop is not None and request.evaluation is None:
        raise UsageError("--max-drop needs data to measure the drop with", "Give them with --eval.")
