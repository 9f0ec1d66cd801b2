"""`fpc quantize`: a float ONNX model to a QDQ ONNX model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from footprint_compiler.cli import text
from footprint_compiler.cli.build import parse_constant, parse_shape
from footprint_compiler.cli.command import FpcCommand, settings, show

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx
    from rich.console import Console

    from footprint_compiler.quantize.evaluate import Comparison
    from footprint_compiler.quantize.quantizer import Quantized

OBSERVERS = ("auto", "min-max", "moving-average", "percentile", "entropy", "mse")


def data_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what data there are and how a model is bound to them."""
    options = [
        click.option(
            "--data",
            required=True,
            help="Calibration: .npz, .npy, .csv, a folder of .npy or images, or module:callable.",
        ),
        click.option("--eval", "evaluation", help="Labelled data, in the same forms."),
        click.option(
            "--preprocess",
            metavar="SPEC",
            help="For images: scale=1/255;mean=0.5;std=0.5;layout=NCHW.",
        ),
        click.option(
            "--allow-random-calibration", is_flag=True, help="Permit --data random."
        ),
        click.option(
            "--shape", "shapes", multiple=True, callback=parse_shape, metavar="NAME=1,3,320,320",
            help="Shape of an input with dynamic dimensions; repeatable.",
        ),
        click.option(
            "--constant", "constants", multiple=True, callback=parse_constant,
            metavar="NAME=VALUE", help="Make an input a constant; repeatable.",
        ),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


@click.command("quantize", cls=FpcCommand)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), help="QDQ model to write.")
@data_options
@click.option(
    "--observer", type=click.Choice(OBSERVERS), default="auto", show_default=True,
    help="How ranges are chosen; auto measures all.",
)  # fmt: skip
@click.option("--float", "floats", multiple=True, metavar="NODE", help="Leave a layer in float.")
def quantize(model: Path, out: Path | None, **options: Any) -> None:
    """Quantize MODEL (float .onnx) to int8: standard QDQ that runs anywhere."""
    from footprint_compiler.quantize.evaluate import compare
    from footprint_compiler.quantize.quantizer import QuantizeOptions
    from footprint_compiler.quantize.quantizer import quantize as quantize_model

    out = out or model.with_suffix(".int8.onnx")
    reporter = settings().reporter()
    try:
        prepared, dataset, evaluation = read_all(model, options, reporter)
        chosen = QuantizeOptions(options["observer"], floats=frozenset(options["floats"]))
        made = quantize_model(prepared, dataset.samples, chosen, reporter)
        comparison = None
        if evaluation is not None:
            reporter.phase("evaluate")
            comparison = compare(prepared, made.model, evaluation)
        save(made.model, out)
    finally:
        reporter.close()
    payload = {
        "path": str(out),
        "observer": made.recipe.observer,
        "sqnr_db": made.sqnr_db,
        "trials": [vars(trial) for trial in made.trials],
        "integer_layers": list(made.integer_layers),
        "float_nodes": [dict(zip(("node", "op", "reason"), f, strict=True)) for f in made.floats],
        "evaluation": None if comparison is None else vars(comparison),
    }
    show(payload, lambda screen: draw(screen, made, comparison, out))


def read_all(model: Path, options: dict[str, Any], reporter: Any) -> tuple[Any, Any, Any]:
    """The prepared model, the calibration data and the evaluation data (or None)."""
    from footprint_compiler.calibration.images import parse_preprocess
    from footprint_compiler.calibration.samples import load_dataset
    from footprint_compiler.quantize.prepare import prepare

    images = parse_preprocess(options["preprocess"] or "")
    reporter.phase("prepare the model")
    prepared, specs = prepare(model, options["shapes"], options["constants"])
    reporter.phase("read the data")
    allowed = options["allow_random_calibration"]
    dataset = load_dataset(options["data"], specs, preprocess=images, allow_random=allowed)
    for line in dataset.warnings:
        reporter.log(line, "warning")
    evaluation = None
    if options["evaluation"]:
        evaluation = load_dataset(options["evaluation"], specs, preprocess=images)
        for line in evaluation.warnings:
            reporter.log(line, "warning")
    return prepared, dataset, evaluation


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


def draw(screen: Console, made: Quantized, comparison: Comparison | None, out: Path) -> None:
    """What was tried, what was kept, what stays in float."""
    listing = text.table("tried", "SQNR dB", "", right=("SQNR dB",))
    for trial in made.trials:
        text.add_row(listing, trial.what, f"{trial.sqnr_db:.2f}", "kept" if trial.kept else "")
    screen.print(listing)
    if made.floats:
        listing = text.table("stays in float", "operator", "reason")
        for row in made.floats:
            text.add_row(listing, *row)
        screen.print(listing)
    screen.print(f"int8     {len(made.integer_layers)} layers, SQNR {made.sqnr_db:.2f} dB")
    if comparison is not None:
        for line in comparison.lines():
            screen.print(line, markup=False)
    screen.print(f"written  {text.printable(str(out))}", markup=False, soft_wrap=True)
