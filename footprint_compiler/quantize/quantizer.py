"""Float model and samples in, QDQ model out: the quantizer as a table of contents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
import onnx_ir as ir

from footprint_compiler.calibration.observers import OBSERVERS
from footprint_compiler.errors import UsageError
from footprint_compiler.progress import Reporter
from footprint_compiler.quantize.adaround import adaround
from footprint_compiler.quantize.correct_bias import correct_bias
from footprint_compiler.quantize.edit import name_of
from footprint_compiler.quantize.equalize import absorb, equalize
from footprint_compiler.quantize.fragile import TOLERABLE_DB, fragile_nodes, joints
from footprint_compiler.quantize.loss import is_better
from footprint_compiler.quantize.precision import PRECISIONS
from footprint_compiler.quantize.scheme import linear_layers
from footprint_compiler.quantize.tune_ranges import tune_ranges
from footprint_compiler.quantize.workbench import Recipe, Workbench
from footprint_compiler.samples import Sample

CERTAINTY = 1.0
"""Standard errors by which a candidate has to be better than the one before; by which learned
rounding, judged layer by layer already, must not be worse."""


@dataclass(frozen=True)
class QuantizeOptions:
    """Options of ``fpc quantize``.

    Attributes:
        observer: key of ``OBSERVERS``, or ``auto``: the one with the least measured error, and then
            the range of each tensor moved as the outputs ask.
        floats: names of nodes that stay in float.
        equalize: try cross-layer equalization and high-bias absorption.
        correct: try empirical bias correction.
        adaround: try to learn the rounding of weights.
        precisions: what the layers may be, cheapest first; the first is tried for all of them.
    """

    observer: str = "auto"
    floats: frozenset[str] = frozenset()
    equalize: bool = True
    correct: bool = True
    adaround: bool = True
    precisions: tuple[str, ...] = ("int8",)


@dataclass(frozen=True)
class Trial:
    """One candidate that was measured."""

    what: str
    sqnr_db: float
    loss: float
    kept: bool


@dataclass(frozen=True)
class Quantized:
    """A quantized model and how it came about.

    Attributes:
        model: standard QDQ ONNX.
        bench: the prepared (perhaps equalized) float model and its statistics.
        recipe: that made it.
        sqnr_db: over the samples that were held back during the search; in the end these may have
            calibrated, too.
        trials: everything that was measured, in order, with the ranges of the others.
        precisions: of the linear nodes on integers, after the widths of their neighbours.
        floats: (node, operator, reason) of what stays in float.
    """

    model: onnx.ModelProto
    bench: Workbench
    recipe: Recipe
    sqnr_db: float
    trials: tuple[Trial, ...]
    precisions: Mapping[str, str]
    floats: tuple[tuple[str, str, str], ...]

    @property
    def integer_layers(self) -> tuple[str, ...]:
        """Linear nodes on integers, in order."""
        return tuple(self.precisions)


def quantize(
    model: ir.Model,
    samples: Sequence[Sample],
    options: QuantizeOptions | None = None,
    reporter: Reporter | None = None,
) -> Quantized:
    """Quantize a prepared model; without a bound, all layers get the cheapest precision.

    Every step is measured, by all samples or by those that are held back from it, and kept only
    where it helps.

    Raises:
        UsageError: an unknown observer or node.
        UnsupportedModelError: nothing in the model can be quantized.
    """
    options, reporter = options or QuantizeOptions(), reporter or Reporter()
    _check(model, options)
    integers = [name for name in options.precisions if name in PRECISIONS]
    search = _Search(options, "int16a" if integers == ["int16a"] else "int8")
    reporter.phase("collect ranges")
    bench = Workbench(model, samples)
    reporter.phase("compare observers")
    search.observe(bench, "")
    if search.level < TOLERABLE_DB:
        reporter.phase("look for fragile tensors")
        search.protect(bench, reporter)
    if options.equalize:
        reporter.phase("equalize channels")
        for what, change in (("equalized", equalize), ("absorbed biases", absorb)):
            changed, count = change(search.bench.model, search.bench.statistics)
            if count:
                search.observe(Workbench(changed, samples), what)
    learned = {PRECISIONS[name].weight_bits: name for name in reversed(integers)}
    for bits in sorted(learned, reverse=True):
        search.turn_to(learned[bits])
        if options.adaround:
            reporter.phase("learn the rounding")
            learned_codes = adaround(search.bench, search.recipe, reporter)
            search.attempt("learned rounding", learned_codes, -CERTAINTY)
        if options.correct:
            reporter.phase("correct biases")
            search.attempt("corrected biases", correct_bias(search.bench, search.recipe))
    search.turn_to(integers[0])
    search.judge_by_held_back()
    if options.observer == "auto" and search.recipe.precision != "int16a":
        reporter.phase("tune ranges")
        search.attempt("tuned ranges", tune_ranges(search.bench, search.recipe, reporter))
    reporter.phase("calibrate with all samples")
    search.calibrate_with_all(samples, len(learned) == 1, reporter)
    bench, recipe = search.bench, search.recipe
    final, scheme = bench.assemble(recipe), bench.scheme(recipe)
    return Quantized(
        final,
        bench,
        recipe,
        bench.sqnr(final),
        search.marked(),
        bench.widths(scheme, recipe).layers,
        tuple((name, op, search.reasons.get(name, reason)) for name, op, reason in scheme.floats),
    )


class _Search:
    """The best candidate so far and everything that was measured.

    All samples judge what does not look at the outputs (observers, and rounding, where samples
    apart have judged each layer): the part that is held back is too small to tell good from better,
    and there is little to overfit.
    """

    def __init__(self, options: QuantizeOptions, precision: str) -> None:
        auto = options.observer == "auto"
        self.observers = list(OBSERVERS) if auto else [options.observer]
        if precision == "int16a":  # nothing is clipped
            self.observers = ["min-max"]
        self.precisions = options.precisions
        self.recipe = Recipe(floats=options.floats, precision=precision)
        self.fair = False
        self.losses = np.full(1, np.inf)
        self.level = float("-inf")
        self.bench: Workbench
        self.reasons: dict[str, str] = {}
        self._trials: list[tuple[str, float, float]] = []
        self._kept: set[int] = set()

    def protect(self, bench: Workbench, reporter: Reporter) -> None:
        """Leave in float what no scale serves, where that helps, and remember why."""
        for find, what in ((joints, "parts apart"), (fragile_nodes, "some nodes in float")):
            if self.level >= TOLERABLE_DB:
                return
            reasons = find(bench, self.recipe, reporter)
            before, loss = self.recipe, self.loss
            self.recipe = replace(before, floats=before.floats | set(reasons))
            if reasons and bench.scheme(self.recipe).linear:
                self.observe(bench, what)
            if self.loss < loss:
                self.reasons |= reasons
            else:
                self.recipe = before

    def observe(self, bench: Workbench, what: str) -> None:
        """Measure the observers on a model; keep what beats all before, in doubt the first."""
        winner = None
        for observer in self.observers:
            recipe = replace(self.recipe, observer=observer)
            found = self._measure(bench, recipe, f"{observer} {what}".strip())
            if not np.isfinite(self.loss) or is_better(found, self.losses, CERTAINTY):
                self.losses, self.bench, winner = found, bench, recipe
                self.level = self._trials[-1][1]
                place = len(self._trials) - 1
        if winner is not None:
            self.recipe = winner
            self._kept.add(place)

    def judge_by_held_back(self) -> None:
        """What follows fits the outputs themselves: only the held-back samples may judge it."""
        self.fair = True
        self.losses = self._measure(self.bench, self.recipe, "on held-back samples")
        self._kept.add(len(self._trials) - 1)

    def turn_to(self, precision: str) -> None:
        """Go on with another precision; what was learned for others stays.

        With 4-bit weights the first and last layer stay in int8 where that is allowed and better.
        """
        if precision == self.recipe.precision:
            return
        self.recipe = replace(self.recipe, precision=precision, layers={})
        self.losses = self._measure(self.bench, self.recipe, precision)
        self._kept.add(len(self._trials) - 1)
        layers = self.bench.scheme(self.recipe).linear
        if precision == "int4w8a" and "int8" in self.precisions and len(layers) > 2:
            ends = {layers[0]: "int8", layers[-1]: "int8"}
            self.attempt("first and last in int8", replace(self.recipe, layers=ends))

    def attempt(self, what: str, recipe: Recipe, certainty: float = CERTAINTY) -> None:
        """Keep a recipe for the same model where it is better.

        Args:
            certainty: see ``is_better``.
        """
        found = self._measure(self.bench, recipe, what)
        if is_better(found, self.losses, certainty):
            self.losses, self.recipe = found, recipe
            self._kept.add(len(self._trials) - 1)

    def calibrate_with_all(
        self, samples: Sequence[Sample], correct: bool, reporter: Reporter
    ) -> None:
        """Ranges, and what depends on them, from all samples: the better guess for others.

        Nothing is left that could judge it.

        Args:
            correct: repeat the bias correction.
        """
        bench, recipe = Workbench(self.bench.model, samples, refit=True), self.recipe
        if recipe.biases and correct:
            recipe = correct_bias(bench, replace(recipe, biases={}))
        if recipe.ranges:
            recipe = tune_ranges(bench, replace(recipe, ranges={}), reporter)
        self.losses = self._measure(bench, recipe, "all samples")
        self.recipe, self.bench = recipe, bench
        self._kept.add(len(self._trials) - 1)

    def _measure(self, bench: Workbench, recipe: Recipe, what: str) -> np.ndarray:
        found, level = bench.losses(bench.assemble(recipe), of_all=not self.fair)
        self._trials.append((what, level, float(found.mean())))
        return found

    @property
    def loss(self) -> float:
        """Of the best candidate."""
        return float(self.losses.mean())

    def marked(self) -> tuple[Trial, ...]:
        """All trials; ``kept`` marks the steps of the way to the result."""
        return tuple(
            Trial(*trial, kept=index in self._kept) for index, trial in enumerate(self._trials)
        )


def with_layers(made: Quantized, layers: Mapping[str, str]) -> onnx.ModelProto:
    """The same quantization with these precisions, of all linear nodes."""
    return made.bench.assemble(replace(made.recipe, layers=layers))


def _check(model: ir.Model, options: QuantizeOptions) -> None:
    if options.observer != "auto" and options.observer not in OBSERVERS:
        raise UsageError(
            f"unknown observer {options.observer!r}", f"Known: auto, {', '.join(OBSERVERS)}."
        )
    layers = [name_of(node) for node in linear_layers(model.graph)]
    unknown = sorted(options.floats - {name_of(node) for node in model.graph})
    if unknown:
        raise UsageError(
            f"no layer {unknown[0]!r} to leave in float", f"Layers: {', '.join(layers)}."
        )
