"""Mixed precision under a gate: the cheapest assignment of precisions that keeps a bound.

1. All layers get the cheapest precision that is allowed.
2. Where that misses the bound, a path is laid out from there to the dearest: each step gives one
   layer a better precision, the one that removes most noise for each byte of weights that it adds.
   The noises are those of a sensitivity table: one layer alone in one precision, measured on
   calibration samples. The drop falls along the path, so bisection finds the first place on it
   that keeps the bound.
3. From there, the layers that cost most bytes are tried in the next cheaper precision again.

At least one layer stays on integers: a model that is all float was not quantized, and is a failure
of the gate. The drop is measured for every assignment that is tried; RAM and flash, which need a
build, for those that keep the bound, and for the closest where none does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import onnx

from footprint_compiler.calibration.samples import Dataset
from footprint_compiler.errors import AccuracyError
from footprint_compiler.progress import Reporter
from footprint_compiler.quantize.assignment import Assignment, path_of_upgrades, weight_bytes
from footprint_compiler.quantize.evaluate import Comparison, compare_outputs, first_output
from footprint_compiler.quantize.precision import FLOAT, ORDER
from footprint_compiler.quantize.quantizer import Quantized, with_layers
from footprint_compiler.quantize.sensitivity import noise_table

Footprint = Callable[[onnx.ModelProto], tuple[int, int]]
"""Model -> (bytes of RAM, bytes of flash)."""

MAX_BUILDS = 12
MAX_RETURNS = 12
MAX_SCANS = 8


@dataclass(frozen=True)
class Step:
    """One assignment that was measured.

    Attributes:
        layers: linear node -> precision.
        change: what was tried, for a reader.
        comparison: on the evaluation data.
        weight_bytes: of all linear nodes, padding not counted.
        ram_bytes, flash_bytes: of a build for the target; None where it was not built.
    """

    layers: Mapping[str, str]
    change: str
    comparison: Comparison
    weight_bytes: int
    ram_bytes: int | None = None
    flash_bytes: int | None = None

    @property
    def drop(self) -> float:
        """Points lost, see ``Comparison.drop``."""
        return self.comparison.drop

    @property
    def floats(self) -> frozenset[str]:
        """Linear nodes in float."""
        return frozenset(name for name, one in self.layers.items() if one == FLOAT)

    def counts(self) -> dict[str, int]:
        """Precision -> number of layers."""
        found: dict[str, int] = {}
        for precision in self.layers.values():
            found[precision] = found.get(precision, 0) + 1
        return found


@dataclass(frozen=True)
class Decision:
    """What the gate chose, and everything that it measured on the way, in order."""

    model: onnx.ModelProto
    chosen: Step
    steps: tuple[Step, ...]


@dataclass
class _Measure:
    made: Quantized
    evaluation: Dataset
    metric: str | None
    max_drop: float
    footprint: Footprint | None
    steps: list[Step] = field(default_factory=list)
    _sizes: dict[bytes, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.expected = first_output(self.made.bench.proto, self.evaluation)

    def step(self, layers: Assignment, change: str) -> Step:
        """Measure an assignment, once."""
        for known in self.steps:
            if known.layers == layers:
                return known
        model = with_layers(self.made, layers)
        got = first_output(model, self.evaluation)
        comparison = compare_outputs(self.expected, got, self.evaluation.labels, self.metric)
        found = Step(layers, change, comparison, weight_bytes(self.made.bench, layers))
        self.steps.append(found)
        if found.drop <= self.max_drop:
            found = self.build(found, model)
        return found

    def build(self, step: Step, model: onnx.ModelProto | None = None, always: bool = False) -> Step:
        """The step with its RAM and flash, as long as builds are left, or always."""
        if self.footprint is None or step.ram_bytes is not None:
            return step
        model = model or with_layers(self.made, step.layers)
        key = model.SerializeToString(deterministic=True)
        if key not in self._sizes:
            if len(self._sizes) >= MAX_BUILDS and not always:
                return step
            self._sizes[key] = self.footprint(model)
        place = self.steps.index(step)
        ram, flash = self._sizes[key]
        self.steps[place] = Step(
            step.layers, step.change, step.comparison, step.weight_bytes, ram, flash
        )
        return self.steps[place]


def hold_bound(
    made: Quantized,
    evaluation: Dataset,
    max_drop: float,
    footprint: Footprint | None = None,
    reporter: Reporter | None = None,
    *,
    precisions: Sequence[str] = ("int8", FLOAT),
    metric: str | None = None,
) -> Decision:
    """Find an assignment whose drop is at most ``max_drop`` points.

    Args:
        evaluation: data that the drop is measured on.
        footprint: measures assignments for the target.
        precisions: what a layer may be, cheapest first.
        metric: see ``choose_metric``.

    Raises:
        AccuracyError: no assignment holds the bound; ``steps`` are all that were measured.
    """
    reporter = reporter or Reporter()
    measure = _Measure(made, evaluation, metric, max_drop, footprint)
    start = {name: made.recipe.asked(name) for name in made.integer_layers}
    best = measure.step(start, f"all {_only(start) or 'cheapest'}")
    if best.drop > max_drop:
        reporter.phase("measure layers")
        noises = noise_table(made, precisions, reporter)
        path = path_of_upgrades(made.bench, start, noises, precisions)
        reporter.phase("hold the bound")
        best = _along(measure, start, path, max_drop)
        best = _back(measure, best, precisions, max_drop)
    best = measure.build(best, always=True)
    return Decision(with_layers(made, best.layers), best, tuple(measure.steps))


def _only(layers: Assignment) -> str | None:
    kinds = set(layers.values())
    return kinds.pop() if len(kinds) == 1 else None


def _along(
    measure: _Measure, start: Assignment, path: Sequence[tuple[str, str]], max_drop: float
) -> Step:
    """The first assignment of the path that keeps the bound, by bisection."""
    stages: list[tuple[Assignment, str]] = [(start, "")]
    for name, precision in path:
        stages.append(({**stages[-1][0], name: precision}, f"{name} to {precision}"))

    def at(index: int) -> Step:
        layers, change = stages[index]
        more = f" and {index - 1} before" if index > 1 else ""
        return measure.step(layers, change + more)

    low, high = 0, len(stages) - 1
    if high == 0 or at(high).drop > max_drop:
        high = _any(at, high, max_drop)
    if high == 0:
        raise _failure(measure, max_drop)
    while high - low > 1:
        middle = (low + high) // 2
        if at(middle).drop <= max_drop:
            high = middle
        else:
            low = middle
    return at(high)


def _any(at: Callable[[int], Step], last: int, max_drop: float) -> int:
    """A place that keeps the bound although the end of the path does not; 0 where none does."""
    stride = max(last // MAX_SCANS, 1)
    for index in range(last - stride, 0, -stride):
        if at(index).drop <= max_drop:
            return index
    return 0


def _failure(measure: _Measure, max_drop: float) -> AccuracyError:
    steps = measure.steps
    closest = min(steps, key=lambda step: step.drop)
    for step in (closest, *steps):
        measure.build(step)
    kinds = {one for step in steps for one in step.layers.values()}
    named = " and ".join(one for one in ORDER if one in kinds)
    return AccuracyError(
        f"no mix of {named} layers keeps the drop within {max_drop:g} points; "
        f"the closest has {closest.drop:.2f}",
        "Give more calibration data, allow more precisions, or raise --max-drop.",
        tuple(measure.steps),
    )


def _back(measure: _Measure, best: Step, precisions: Sequence[str], max_drop: float) -> Step:
    """Try cheaper precisions again where they save most."""
    bench = measure.made.bench

    def saving(name: str) -> int:
        return weight_bytes(bench, {name: best.layers[name]})

    raised = [n for n, one in best.layers.items() if precisions.index(one) > 0]
    for name in sorted(raised, key=lambda n: (-saving(n), n))[:MAX_RETURNS]:
        cheaper = precisions[precisions.index(best.layers[name]) - 1]
        step = measure.step({**best.layers, name: cheaper}, f"{name} to {cheaper} again")
        if step.drop <= max_drop:
            best = step
    return best
