"""`fpc quantize`: a float ONNX model to a QDQ ONNX model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from footprint_compiler.cli import text
from footprint_compiler.cli.build import parse_constant, parse_shape
from footprint_compiler.cli.command import FpcCommand, console, settings, show
from footprint_compiler.cli.quantize_options import quantizer_options, request_of
from footprint_compiler.errors import AccuracyError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import onnx
    from rich.console import Console

    from footprint_compiler.quantize.gate import Step
    from footprint_compiler.quantize.session import Outcome


@click.command("quantize", cls=FpcCommand)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), help="QDQ model to write.")
@quantizer_options(data_required=True)
@click.option(
    "--shape", "shapes", multiple=True, callback=parse_shape, metavar="NAME=1,3,320,320",
    help="Shape of an input with dynamic dimensions; repeatable.",
)  # fmt: skip
@click.option(
    "--constant", "constants", multiple=True, callback=parse_constant, metavar="NAME=VALUE",
    help="Make an input a constant; repeatable.",
)  # fmt: skip
def quantize(model: Path, out: Path | None, **options: Any) -> None:
    """Quantize MODEL (float .onnx) to int8: standard QDQ that runs anywhere."""
    from footprint_compiler.quantize.session import run

    out = out or model.with_suffix(".int8.onnx")
    reporter = settings().reporter()
    try:
        outcome = run(model, request_of(options), reporter)
        save(outcome.model, out)
    except AccuracyError as error:
        draw_trade_off(console(stderr=True), error.steps)
        raise
    finally:
        reporter.close()
    payload = {"path": str(out), **as_json(outcome)}
    show(payload, lambda screen: draw(screen, outcome, out))


def as_json(outcome: Outcome) -> dict[str, Any]:
    """What was tried and decided, for ``--json``."""
    made, comparison, decision = outcome.made, outcome.comparison, outcome.decision
    names = ("node", "op", "reason")
    return {
        "observer": made.recipe.observer,
        "sqnr_db": made.sqnr_db,
        "trials": [vars(trial) for trial in made.trials],
        "layers": list(made.integer_layers),
        "float_nodes": [dict(zip(names, row, strict=True)) for row in made.floats],
        "evaluation": None if comparison is None else vars(comparison),
        "layers_in_float": [] if decision is None else sorted(decision.chosen.floats),
        "steps": [] if decision is None else [_step_json(step) for step in decision.steps],
    }


def _step_json(step: Step) -> dict[str, Any]:
    return {
        "change": step.change,
        "floats": sorted(step.floats),
        "drop": step.drop,
        "accuracy": step.comparison.accuracy,
        "ram_bytes": step.ram_bytes,
        "flash_bytes": step.flash_bytes,
    }


def save(model: onnx.ModelProto, out: Path) -> None:
    """Write beside the final place and move there; OutputError when impossible."""
    from footprint_compiler.errors import OutputError

    part = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(model.SerializeToString(deterministic=True))
            os.replace(part, out)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}") from error


def draw(screen: Console, outcome: Outcome, out: Path | None) -> None:
    """What was tried, what was kept, what stays in float."""
    made = outcome.made
    listing = text.table("tried", "SQNR dB", "", right=("SQNR dB",))
    for trial in made.trials:
        text.add_row(listing, trial.what, f"{trial.sqnr_db:.2f}", "kept" if trial.kept else "")
    screen.print(listing)
    if made.floats:
        listing = text.table("stays in float", "operator", "reason")
        for row in made.floats:
            text.add_row(listing, *row)
        screen.print(listing)
    if outcome.decision is not None:
        draw_trade_off(screen, outcome.decision.steps)
        for name in sorted(outcome.decision.chosen.floats):
            screen.print(f"float    {text.printable(name)}", markup=False)
    screen.print(f"int8     {len(made.integer_layers)} layers, SQNR {made.sqnr_db:.2f} dB")
    if outcome.comparison is not None:
        for line in outcome.comparison.lines():
            screen.print(line, markup=False)
    if out is not None:
        screen.print(f"written  {text.printable(str(out))}", markup=False, soft_wrap=True)


def draw_trade_off(screen: Console, steps: Iterable[Any]) -> None:
    """Every assignment that the gate measured, in order."""
    columns = ("tried", "layers in float", "accuracy", "drop", "RAM", "flash")
    listing = text.table(*columns, right=columns[1:])
    for step in steps:
        accuracy = step.comparison.accuracy
        text.add_row(
            listing,
            step.change,
            len(step.floats),
            "" if accuracy is None else f"{accuracy:.2%}",
            f"{step.drop:.2f}",
            "" if step.ram_bytes is None else text.size(step.ram_bytes),
            "" if step.flash_bytes is None else text.size(step.flash_bytes),
        )
    screen.print(listing)
