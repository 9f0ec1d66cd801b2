"""Float model and samples in, QDQ model out: the quantizer as a table of contents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx
import onnx_ir as ir

from footprint_compiler.calibration.observers import OBSERVERS
from footprint_compiler.errors import UsageError
from footprint_compiler.progress import Reporter
from footprint_compiler.quantize.adaround import adaround
from footprint_compiler.quantize.correct_bias import correct_bias
from footprint_compiler.quantize.edit import name_of
from footprint_compiler.quantize.equalize import absorb, equalize
from footprint_compiler.quantize.scheme import linear_layers
from footprint_compiler.quantize.workbench import Recipe, Workbench
from footprint_compiler.samples import Sample


@dataclass(frozen=True)
class QuantizeOptions:
    """Options of ``fpc quantize``.

    Attributes:
        observer: key of ``OBSERVERS``, or ``auto``: the one with the least measured error.
        floats: names of linear nodes that stay in float.
        equalize: try cross-layer equalization and high-bias absorption.
        correct: try empirical bias correction.
        adaround: learn the rounding of weights; slower.
    """

    observer: str = "auto"
    floats: frozenset[str] = frozenset()
    equalize: bool = True
    correct: bool = True
    adaround: bool = False


@dataclass(frozen=True)
class Trial:
    """One candidate that was measured."""

    what: str
    sqnr_db: float
    kept: bool


@dataclass(frozen=True)
class Quantized:
    """A quantized model and how it came about.

    Attributes:
        model: standard QDQ ONNX.
        bench: the prepared (perhaps equalized) float model and its statistics.
        recipe: that made it.
        sqnr_db: over the samples that were held back during the search; the ranges of the result
            come from all samples, these included.
        trials: everything that was measured, in order, with the ranges of the others.
        integer_layers: linear nodes on integers.
        floats: (node, operator, reason) of what stays in float.
    """

    model: onnx.ModelProto
    bench: Workbench
    recipe: Recipe
    sqnr_db: float
    trials: tuple[Trial, ...]
    integer_layers: tuple[str, ...]
    floats: tuple[tuple[str, str, str], ...]


def quantize(
    model: ir.Model,
    samples: Sequence[Sample],
    options: QuantizeOptions | None = None,
    reporter: Reporter | None = None,
) -> Quantized:
    """Quantize a prepared model to int8.

    Every step is measured on the held-back samples, and kept only where it helps.

    Raises:
        UsageError: an unknown observer or node.
        UnsupportedModelError: nothing in the model can be quantized.
    """
    options, reporter = options or QuantizeOptions(), reporter or Reporter()
    _check(model, options)
    search = _Search(options)
    reporter.phase("collect ranges")
    bench = Workbench(model, samples)
    reporter.phase("compare observers")
    search.observe(bench, "")
    if options.equalize:
        reporter.phase("equalize channels")
        for what, change in (("equalized", equalize), ("absorbed biases", absorb)):
            changed, count = change(search.bench.model, search.bench.statistics)
            if count:
                search.observe(Workbench(changed, samples), what)
    if options.adaround:
        reporter.phase("learn the rounding")
        search.attempt("learned rounding", adaround(search.bench, search.recipe, reporter))
    if options.correct:
        reporter.phase("correct biases")
        search.attempt("corrected biases", correct_bias(search.bench, search.recipe))
    reporter.phase("calibrate with all samples")
    bench, recipe = Workbench(search.bench.model, samples, refit=True), search.recipe
    if recipe.biases:
        recipe = correct_bias(bench, replace(recipe, biases={}))
    final, scheme = bench.assemble(recipe), bench.scheme(recipe)
    return Quantized(
        final,
        bench,
        recipe,
        bench.sqnr(final),
        search.marked(),
        scheme.linear,
        scheme.floats,
    )


class _Search:
    """The best candidate so far and everything that was measured."""

    def __init__(self, options: QuantizeOptions) -> None:
        auto = options.observer == "auto"
        self.observers = list(OBSERVERS) if auto else [options.observer]
        self.floats = options.floats
        self.recipe = Recipe(floats=options.floats)
        self.level = float("-inf")
        self.bench: Workbench
        self._trials: list[tuple[str, float]] = []
        self._kept: set[int] = set()

    def observe(self, bench: Workbench, what: str) -> None:
        """Measure the observers on a model; keep the best where it beats all before."""
        winner = None
        for observer in self.observers:
            recipe = Recipe(observer=observer, floats=self.floats)
            level = bench.sqnr(bench.assemble(recipe))
            self._trials.append((f"{observer} {what}".strip(), level))
            if level > self.level:
                self.level, self.recipe, self.bench = level, recipe, bench
                winner = len(self._trials) - 1
        if winner is not None:
            self._kept.add(winner)

    def attempt(self, what: str, recipe: Recipe) -> None:
        """Keep a recipe for the same model where it is better."""
        level = self.bench.sqnr(self.bench.assemble(recipe))
        self._trials.append((what, level))
        if level > self.level:
            self.level, self.recipe = level, recipe
            self._kept.add(len(self._trials) - 1)

    def marked(self) -> tuple[Trial, ...]:
        """All trials; ``kept`` marks the steps of the way to the result."""
        return tuple(
            Trial(what, level, index in self._kept)
            for index, (what, level) in enumerate(self._trials)
        )


def with_floats(made: Quantized, floats: frozenset[str]) -> onnx.ModelProto:
    """The same quantization with these linear nodes in float."""
    return made.bench.assemble(replace(made.recipe, floats=floats))


def _check(model: ir.Model, options: QuantizeOptions) -> None:
    if options.observer != "auto" and options.observer not in OBSERVERS:
        raise UsageError(
            f"unknown observer {options.observer!r}", f"Known: auto, {', '.join(OBSERVERS)}."
        )
    layers = [name_of(node) for node in linear_layers(model.graph)]
    unknown = sorted(options.floats - set(layers))
    if unknown:
        raise UsageError(
            f"no layer {unknown[0]!r} to leave in float", f"Layers: {', '.join(layers)}."
        )
