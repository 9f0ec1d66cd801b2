"""Which layer costs the accuracy: quantize one alone, and leave one alone in float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from footprint_compiler.calibration.samples import Dataset
from footprint_compiler.progress import Reporter
from footprint_compiler.quantize.edit import constant_of, name_of
from footprint_compiler.quantize.evaluate import compare_outputs, first_output
from footprint_compiler.quantize.precision import FLOAT
from footprint_compiler.quantize.quantizer import Quantized


@dataclass(frozen=True)
class LayerSensitivity:
    """One linear layer.

    Attributes:
        name, op, precision: of its node.
        weights: number of weights.
        only_db: SQNR of the outputs when only this layer is quantized.
        gain_db: SQNR gained when everything but this layer is quantized.
        only_accuracy, left_accuracy: the same two as accuracy; None without labels.
    """

    name: str
    op: str
    precision: str
    weights: int
    only_db: float
    gain_db: float
    only_accuracy: float | None = None
    left_accuracy: float | None = None


def sensitivity(
    made: Quantized, evaluation: Dataset | None = None, reporter: Reporter | None = None
) -> list[LayerSensitivity]:
    """All quantized layers, the most harmful first (by ``gain_db``).

    Args:
        evaluation: labelled data, for the accuracies.
    """
    reporter = reporter or Reporter()
    bench, recipe = made.bench, made.recipe
    nodes = {name_of(node): node for node in bench.model.graph}
    labels = None if evaluation is None else evaluation.labels
    expected = None
    if evaluation is not None and labels is not None:
        expected = first_output(bench.proto, evaluation)
    found = []
    for done, name in enumerate(made.integer_layers):
        only = bench.assemble(replace(recipe, only=frozenset({name})))
        left = bench.assemble(replace(recipe, layers={**recipe.layers, name: FLOAT}))
        accuracies: list[float | None] = [None, None]
        if evaluation is not None and expected is not None:
            accuracies = [
                compare_outputs(expected, first_output(model, evaluation), labels).accuracy
                for model in (only, left)
            ]
        weights = constant_of(nodes[name].inputs[1])
        found.append(
            LayerSensitivity(
                name,
                nodes[name].op_type,
                recipe.asked(name),
                0 if weights is None else int(weights.size),
                bench.sqnr(only),
                bench.sqnr(left) - made.sqnr_db,
                *accuracies,
            )
        )
        reporter.progress(done + 1, len(made.integer_layers))
    return sorted(found, key=lambda layer: (-layer.gain_db, layer.only_db))


def noise_table(
    made: Quantized, precisions: Sequence[str], reporter: Reporter
) -> dict[str, dict[str, float]]:
    """Layer -> precision -> noise relative to the signal with that layer alone quantized."""
    bench, recipe = made.bench, made.recipe
    found: dict[str, dict[str, float]] = {}
    for done, name in enumerate(made.integer_layers):
        only, row = frozenset({name}), {}
        for precision in {*precisions, recipe.asked(name)}:
            if precision == FLOAT:
                row[precision] = 0.0
                continue
            model = bench.assemble(replace(recipe, only=only, layers={name: precision}))
            row[precision] = 10 ** (-bench.sqnr(model) / 10)
        found[name] = row
        reporter.progress(done + 1, len(made.integer_layers))
    return found
