"""Float model and samples in, QDQ model out: the quantizer as a table of contents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx
import onnx_ir as ir

from footprint_compiler.calibration.observers import OBSERVERS
from footprint_compiler.errors import UsageError
from footprint_compiler.progress import Reporter
from footprint_compiler.quantize.workbench import Recipe, Workbench
from footprint_compiler.samples import Sample


@dataclass(frozen=True)
class QuantizeOptions:
    """Options of ``fpc quantize``.

    Attributes:
        observer: key of ``OBSERVERS``, or ``auto``: the one with the least measured error.
        floats: names of linear nodes that stay in float.
    """

    observer: str = "auto"
    floats: frozenset[str] = frozenset()


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
        recipe: that made it.
        sqnr_db: over the held-back samples.
        trials: everything that was measured, in order.
        integer_layers: linear nodes on integers.
        floats: (node, operator, reason) of what stays in float.
    """

    model: onnx.ModelProto
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

    Raises:
        UsageError: an unknown observer.
        UnsupportedModelError: nothing in the model can be quantized.
    """
    options, reporter = options or QuantizeOptions(), reporter or Reporter()
    if options.observer != "auto" and options.observer not in OBSERVERS:
        raise UsageError(
            f"unknown observer {options.observer!r}", f"Known: auto, {', '.join(OBSERVERS)}."
        )
    reporter.phase("collect ranges")
    bench = Workbench(model, samples)
    reporter.phase("compare observers")
    names = list(OBSERVERS) if options.observer == "auto" else [options.observer]
    recipes = [Recipe(observer=name, floats=options.floats) for name in names]
    measured = [(bench.sqnr(bench.assemble(recipe)), recipe) for recipe in recipes]
    level, best = max(measured, key=lambda item: item[0])
    trials = [Trial(recipe.observer, db, recipe is best) for db, recipe in measured]
    scheme = bench.scheme(best)
    return Quantized(bench.assemble(best), best, level, tuple(trials), scheme.linear, scheme.floats)
