"""Mixed precision under a gate: the cheapest mix of int8 and float layers that keeps a bound.

All layers start in int8. While the drop is above the bound, the layer whose return to float gains
most SQNR goes back; then each of these, the largest first, is tried in int8 once more. At least one
layer stays in int8: a model that is all float was not quantized, and is a failure of the gate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx

from footprint_compiler.calibration.samples import Dataset
from footprint_compiler.errors import AccuracyError, InputDataError
from footprint_compiler.progress import Reporter
from footprint_compiler.quantize.evaluate import Comparison, compare_outputs, first_output
from footprint_compiler.quantize.quantizer import Quantized, with_floats
from footprint_compiler.quantize.sensitivity import sensitivity

Footprint = Callable[[onnx.ModelProto], tuple[int, int]]
"""Model -> (bytes of RAM, bytes of flash)."""


@dataclass(frozen=True)
class Step:
    """One assignment that was measured.

    Attributes:
        floats: linear nodes in float; the others are int8.
        change: what was tried, for a reader.
        comparison: on the evaluation data.
        ram_bytes, flash_bytes: of a build for the target; None where nobody asked.
    """

    floats: frozenset[str]
    change: str
    comparison: Comparison
    ram_bytes: int | None = None
    flash_bytes: int | None = None

    @property
    def drop(self) -> float:
        """Percentage points lost, see ``Comparison.drop``."""
        found = self.comparison.drop
        return float("inf") if found is None else found


@dataclass(frozen=True)
class Decision:
    """What the gate chose, and everything that it measured on the way, in order."""

    model: onnx.ModelProto
    chosen: Step
    steps: tuple[Step, ...]


class _Measure:
    def __init__(self, made: Quantized, evaluation: Dataset, footprint: Footprint | None) -> None:
        self.made, self.evaluation, self.footprint = made, evaluation, footprint
        self.expected = first_output(made.bench.proto, evaluation)
        self.steps: list[Step] = []

    def step(self, floats: frozenset[str], change: str) -> Step:
        model = with_floats(self.made, floats)
        got = first_output(model, self.evaluation)
        comparison = compare_outputs(self.expected, got, self.evaluation.labels)
        sizes = (None, None) if self.footprint is None else self.footprint(model)
        self.steps.append(Step(floats, change, comparison, *sizes))
        return self.steps[-1]


def hold_bound(
    made: Quantized,
    evaluation: Dataset,
    max_drop: float,
    footprint: Footprint | None = None,
    reporter: Reporter | None = None,
) -> Decision:
    """Find an assignment whose drop is at most ``max_drop`` percentage points.

    Args:
        evaluation: labelled data; without labels the drop is the share of samples whose largest
            output changed.
        footprint: measures every assignment for the target.

    Raises:
        AccuracyError: no assignment holds the bound; ``steps`` are all that were measured.
        InputDataError: outputs of one element have no top-1 to compare.
    """
    reporter = reporter or Reporter()
    measure = _Measure(made, evaluation, footprint)
    if measure.expected.shape[1] < 2:
        raise InputDataError(
            "a gate on the drop needs an output with two classes or more",
            "Compare the models with `fpc quantize --eval` instead.",
        )
    start = made.recipe.floats
    best = measure.step(start, "all int8")
    if best.drop > max_drop:
        best = _return_to_float(measure, start, max_drop, reporter)
    if len(best.floats - start) > 1:
        best = _back_to_int8(measure, best, start, max_drop)
    return Decision(with_floats(made, best.floats), best, tuple(measure.steps))


def _return_to_float(
    measure: _Measure, start: frozenset[str], max_drop: float, reporter: Reporter
) -> Step:
    order = [layer.name for layer in sensitivity(measure.made, None, reporter)]
    floats = start
    for name in order[:-1]:
        floats |= {name}
        step = measure.step(floats, f"{name} in float")
        if step.drop <= max_drop:
            return step
    closest = min(measure.steps, key=lambda step: step.drop)
    raise AccuracyError(
        f"no mix of int8 and float layers keeps the drop within {max_drop:g} points; "
        f"the closest has {closest.drop:.2f}",
        "Give more calibration data, try --adaround, or raise --max-drop.",
        tuple(measure.steps),
    )


def _back_to_int8(measure: _Measure, best: Step, start: frozenset[str], max_drop: float) -> Step:
    sizes = {node.name: node for node in measure.made.bench.proto.graph.node}
    weights = {t.name: len(t.raw_data) for t in measure.made.bench.proto.graph.initializer}
    largest = sorted(best.floats - start, key=lambda n: (-weights.get(sizes[n].input[1], 0), n))
    for name in largest:
        step = measure.step(best.floats - {name}, f"{name} in int8 again")
        if step.drop <= max_drop:
            best = step
    return best
