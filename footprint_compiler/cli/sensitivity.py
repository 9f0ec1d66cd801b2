"""`fpc sensitivity`: which layer costs the accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from footprint_compiler.cli import text
from footprint_compiler.cli.command import FpcCommand, settings, show
from footprint_compiler.cli.input_options import input_options
from footprint_compiler.cli.quantize_options import KINDS, quantizer_options, request_of

if TYPE_CHECKING:
    from rich.console import Console

    from footprint_compiler.quantize.sensitivity import LayerSensitivity
    from footprint_compiler.quantize.session import Outcome


@click.command("sensitivity", cls=FpcCommand)
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--precision", type=click.Choice(KINDS[:-1]), default="int8", show_default=True,
    help="Of weights and activations.",
)  # fmt: skip
@quantizer_options(data_required=True)
@input_options
def sensitivity(model: Path, precision: str, **options: Any) -> None:
    """Quantize each layer of MODEL alone, and leave each alone in float; the worst first."""
    from footprint_compiler.quantize.sensitivity import sensitivity as measure
    from footprint_compiler.quantize.session import run

    reporter = settings().reporter()
    try:
        outcome = run(model, request_of({**options, "max_drop": None}, precision), reporter)
        reporter.phase("measure layers")
        layers = measure(outcome.made, outcome.evaluation, reporter)
    finally:
        reporter.close()
    payload = {
        "sqnr_db": outcome.made.sqnr_db,
        "evaluation": None if outcome.comparison is None else outcome.comparison.as_json(),
        "layers": [vars(layer) for layer in layers],
    }
    show(payload, lambda screen: draw(screen, outcome, layers))


def draw(screen: Console, outcome: Outcome, layers: list[LayerSensitivity]) -> None:
    """One row for each layer, then the totals that the rows compare with."""
    columns = ("layer", "operator", "precision", "weights", "alone dB", "in float dB")
    accuracies = ("alone", "in float")
    labelled = bool(layers) and layers[0].only_accuracy is not None
    titles = columns + (accuracies if labelled else ())
    listing = text.table(*titles, right=titles[3:])
    for layer in layers:
        cells = [layer.name, layer.op, layer.precision, f"{layer.weights:,}"]
        cells += [f"{layer.only_db:.2f}", f"{layer.gain_db:+.2f}"]
        if labelled:
            cells += [f"{layer.only_accuracy:.2%}", f"{layer.left_accuracy:.2%}"]
        text.add_row(listing, *cells)
    screen.print(listing)
    screen.print(f"all      {len(layers)} layers, SQNR {outcome.made.sqnr_db:.2f} dB")
    if outcome.comparison is not None:
        for line in outcome.comparison.lines():
            screen.print(line, markup=False)
