"""From the words of a command to a quantized model: read, quantize, evaluate or hold a bound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx

from footprint_compiler.calibration.images import parse_preprocess
from footprint_compiler.calibration.samples import Dataset, load_dataset
from footprint_compiler.errors import UsageError
from footprint_compiler.progress import Reporter
from footprint_compiler.quantize.evaluate import Comparison, compare
from footprint_compiler.quantize.gate import Decision, Footprint, hold_bound
from footprint_compiler.quantize.precision import (
    FLOAT,
    MIXED,
    ORDER,
    PRECISIONS,
    WIDE_OPSET,
    needs_wide_opset,
)
from footprint_compiler.quantize.prepare import OPSET, prepare
from footprint_compiler.quantize.quantizer import Quantized, QuantizeOptions, quantize

PRECISION_SETS = {"int4w8a": ("int4w8a", "int8", FLOAT)}
"""Precision of all layers -> what single layers may be instead, where that is more than float."""


@dataclass(frozen=True)
class Request:
    """What a user asks for.

    Attributes:
        data, evaluation: sources as ``load_dataset`` takes them.
        preprocess: for images, see ``parse_preprocess``.
        max_drop: bound in points; it needs ``evaluation``.
        metric: what the drop is measured in, see ``choose_metric``; by default it fits the data.
        precision: of all layers, or ``MIXED``.
        precisions: what layers may be, cheapest first; by default the precision and float (and int8
            beside int4w8a), or everything where it is mixed.
        shapes, constants: as in a build.
    """

    data: str
    evaluation: str | None = None
    preprocess: str = ""
    allow_random: bool = False
    max_drop: float | None = None
    metric: str | None = None
    precision: str = "int8"
    precisions: tuple[str, ...] = ()
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
            of the allowed precisions holds the bound.
    """
    reporter = reporter or Reporter()
    check_request(request)
    reporter.phase("prepare the model")
    allowed = allowed_precisions(request)
    opset = WIDE_OPSET if needs_wide_opset(allowed) else OPSET
    prepared, specs = prepare(model, request.shapes, request.constants, opset)
    reporter.phase("read the data")
    images = parse_preprocess(request.preprocess)
    data = load_dataset(request.data, specs, preprocess=images, allow_random=request.allow_random)
    evaluation = None
    if request.evaluation is not None:
        evaluation = load_dataset(request.evaluation, specs, preprocess=images)
    for line in (*data.warnings, *(evaluation.warnings if evaluation else ())):
        reporter.log(line, "warning")
    integers = tuple(name for name in allowed if name in PRECISIONS)
    options = replace(request.options, precisions=integers)
    made = quantize(prepared, data.samples, options, reporter)
    if evaluation is None:
        return Outcome(made.model, made, None, None, None)
    if request.max_drop is None:
        reporter.phase("evaluate")
        comparison = compare(made.bench.model, made.model, evaluation, request.metric)
        return Outcome(made.model, made, comparison, None, evaluation)
    reporter.phase("hold the bound")
    decision = hold_bound(
        made,
        evaluation,
        request.max_drop,
        footprint,
        reporter,
        precisions=allowed,
        metric=request.metric,
    )
    return Outcome(decision.model, made, decision.chosen.comparison, decision, evaluation)


def allowed_precisions(request: Request) -> tuple[str, ...]:
    """What layers may be, cheapest first."""
    if request.precisions:
        return request.precisions
    if request.precision == MIXED:
        return ORDER
    return PRECISION_SETS.get(request.precision, (request.precision, FLOAT))


def check_request(request: Request) -> None:
    """UsageError for what does not go together."""
    known = (*PRECISIONS, MIXED)
    if request.precision not in known:
        raise UsageError(f"unknown precision {request.precision!r}", f"Known: {', '.join(known)}.")
    if request.max_drop is not None and request.evaluation is None:
        raise UsageError("--max-drop needs data to measure the drop with", "Give them with --eval.")
    if request.metric is not None and request.evaluation is None:
        raise UsageError("--metric needs data to measure", "Give them with --eval.")
    if request.precision == MIXED and request.max_drop is None:
        raise UsageError("mixed precision needs a bound", "Give it with --max-drop and --eval.")
    if request.precisions and request.precision != MIXED:
        raise UsageError("--precisions is for mixed precision", "Ask for mixed.")
