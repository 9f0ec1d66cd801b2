"""`fpc quantize`: a float ONNX model to a QDQ ONNX model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from footprint_compiler.cli import text
from footprint_compiler.cli.command import FpcCommand, settings, show
from footprint_compiler.cli.input_options import input_options
from footprint_compiler.cli.quantize_options import KINDS, quantizer_options, request_of
from footprint_compiler.cli.quantized import draw_outcome, outcome_json

if TYPE_CHECKING:
    from rich.console import Console

    from footprint_compiler.quantize.session import Outcome


@click.command("quantize", cls=FpcCommand)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), help="QDQ model to write.")
@click.option(
    "--precision", type=click.Choice(KINDS), default="int8", show_default=True,
    help="Of weights and activations; mixed needs --max-drop.",
)  # fmt: skip
@quantizer_options(data_required=True)
@input_options
def quantize(model: Path, out: Path | None, precision: str, **options: Any) -> None:
    """Quantize MODEL (float .onnx): standard QDQ that runs anywhere."""
    from footprint_compiler.quantize.session import run
    from footprint_compiler.quantize.write import write_model

    out = out or model.with_suffix(f".{precision}.onnx")
    reporter = settings().reporter()
    try:
        outcome = run(model, request_of(options, precision), reporter)
        write_model(outcome.model, out)
    finally:
        reporter.close()
    payload = {"path": str(out), **outcome_json(outcome)}
    show(payload, lambda screen: _draw(screen, outcome, out))


def _draw(screen: Console, outcome: Outcome, out: Path) -> None:
    draw_outcome(screen, outcome)
    screen.print(f"written  {text.printable(str(out))}", markup=False, soft_wrap=True)
