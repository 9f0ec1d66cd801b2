"""`fpc validate`: a build against a reference, per output or per tensor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from footprint_compiler.cli import text
from footprint_compiler.cli.command import FpcCommand, settings, show
from footprint_compiler.cli.execute import Executor
from footprint_compiler.cli.input_options import parse_constant
from footprint_compiler.cli.tensors import departure_json, draw_departure, draw_layers, layer_json
from footprint_compiler.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from footprint_compiler.progress import Reporter
    from footprint_compiler.quantize.evaluate import Comparison
    from footprint_compiler.samples import Sample
    from footprint_compiler.validate import ValidationReport

REFERENCES = {
    "ort": "ONNX Runtime, graph as written",
    "ort-optimized": "ONNX Runtime, graph optimized",
    "exact": "exact arithmetic, graph as written",
}
COLUMNS = ("output", "max abs", "limit", "rmse", "cosine", "top-1", "verdict")


@click.command("validate", cls=FpcCommand)
@click.argument("build", type=click.Path(path_type=Path))
@click.option(
    "--model", type=click.Path(path_type=Path), required=True, help="The ONNX file it came from."
)
@click.option("-i", "--inputs", type=click.Path(path_type=Path), help="npz or npy; else random.")
@click.option("--samples", default=4, show_default=True, type=click.IntRange(1), help="If random.")
@click.option("--seed", default=0, show_default=True, help="Of the random samples.")
@click.option(
    "--constant", "constants", multiple=True, callback=parse_constant, metavar="NAME=VALUE"
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0),
    help="Times the tensor's range (1e-4), or LSB where it is quantized (1).",
)
@click.option(
    "--tolerance-lsb", type=click.FloatRange(0), help="Of quantized tensors.  [default: 1]"
)
@click.option("--layers", is_flag=True, help="Compare every tensor that a kernel writes.")
@click.option("--bisect", is_flag=True, help="Name the first tensor that departs.")
@click.option(
    "--reference",
    type=click.Choice(["ort", "ort-optimized", "exact"]),
    default="ort",
    show_default=True,
    help="ONNX Runtime as written or optimized, or float64 in NumPy.",
)
@click.option(
    "--float",
    "floating",
    type=click.Path(path_type=Path),
    help="The model from before quantization, for --layers and --eval.",
)
@click.option("--eval", "evaluation", metavar="SOURCE", help="Labelled data: accuracy on them.")
@click.option("--metric", metavar="NAME", help="For --eval, as in `fpc quantize`.")
@click.option("--host", is_flag=True, help="With --layers: also compare with a build for here.")
@click.option("--target", help="With --layers: .toml file of a target of your own.")
def validate(
    build: Path,
    model: Path,
    inputs: Path | None,
    samples: int,
    seed: int,
    constants: dict[str, Any],
    **options: Any,
) -> None:
    """Compare BUILD with ONNX Runtime; exit code 5 when something is out of tolerance.

    --layers and --bisect build MODEL again with all tensors kept, check that this computes the
    same bytes as BUILD, and compare inner tensors too.
    """
    from footprint_compiler import validate as library
    from footprint_compiler.calibration.samples import load_dataset
    from footprint_compiler.codegen.read import open_artifact
    from footprint_compiler.codes import with_codes
    from footprint_compiler.output_scales import output_scales
    from footprint_compiler.samples import random_samples, read_samples
    from footprint_compiler.validation.accuracy import measure
    from footprint_compiler.validation.bisect import bisect
    from footprint_compiler.validation.difference import Tolerance
    from footprint_compiler.validation.session import Request, compare_layers, output_reference
    from footprint_compiler.validation.trace import kept_tensors

    artifact = open_artifact(build)
    reporter = settings().reporter()
    if library.file_sha256(model) != artifact.manifest["model"]["sha256"]:
        reporter.log(f"{model} is not the file that {build} was built from", "warning")
    fixed = {**artifact.manifest["model"].get("constants", {}), **constants}
    scales = output_scales(model)
    kept = {tensor.name for tensor in kept_tensors(artifact) if not tensor.is_output}
    outputs = [
        spec if spec.scale is not None else replace(spec, scale=scales.get(spec.name))
        for spec in artifact.outputs
        if spec.name not in kept
    ]
    as_written = output_reference(model, outputs, fixed, options["reference"])
    reference = with_codes(as_written, model, artifact.inputs, outputs)
    chosen: Sequence[Sample] = (
        read_samples(inputs, artifact.inputs).samples
        if inputs
        else list(random_samples(artifact.inputs, samples, seed))
    )
    tolerance, lsb = options["tolerance"], options["tolerance_lsb"]
    execute = Executor(artifact)
    layers = None
    try:
        report = library.validate(
            execute, reference, _counted(chosen, reporter), outputs, tolerance, lsb
        )
        if options["layers"] or options["bisect"]:
            request = Request(
                model,
                fixed,
                options["reference"],
                options["floating"],
                options["host"],
                options["target"],
                Tolerance.of(tolerance, lsb),
            )
            layers = compare_layers(artifact, request, chosen, reporter)
        accuracy = None
        if options["evaluation"]:
            reporter.phase("evaluate")
            judge = reference
            if options["floating"]:
                judge = output_reference(options["floating"], outputs, fixed, "ort")
                judge = with_codes(judge, options["floating"], artifact.inputs, outputs)
            data = load_dataset(options["evaluation"], artifact.inputs, few=1)
            accuracy = measure(execute, judge, data, outputs[0], options["metric"])
    finally:
        reporter.close()
    payload = {
        "passed": report.passed and (layers is None or layers.passed),
        "reference": options["reference"],
        "samples": report.samples,
        "outputs": [{**vars(o), "passed": o.passed} for o in report.outputs],
    }
    if accuracy is not None:
        payload["evaluation"] = accuracy.as_json()
    departure = None
    if layers is not None:
        payload["layers"] = [layer_json(layer) for layer in layers.layers]
    if layers is not None and options["bisect"]:
        departure = bisect(layers.layers)
        payload["bisect"] = departure and departure_json(departure)

    def draw(screen: Console) -> None:
        _draw(screen, report, REFERENCES[options["reference"]])
        if accuracy is not None:
            judge = "float" if options["floating"] else "model"
            screen.print(_scores(accuracy, judge), markup=False, soft_wrap=True)
        if layers is not None and options["layers"]:
            draw_layers(screen, layers)
        if layers is not None and options["bisect"]:
            draw_departure(screen, departure)

    show(payload, draw)
    failed = [output.name for output in report.outputs if not output.passed]
    failed += [] if layers is None else [x.tensor.name for x in layers.layers if not x.passed]
    if failed and settings().as_json:
        click.get_current_context().exit(ValidationError.exit_code)
    if failed:
        raise ValidationError(f"out of tolerance: {_some(list(dict.fromkeys(failed)))}")


def _scores(accuracy: Comparison, judge: str) -> str:
    name = "accuracy" if accuracy.metric == "top-1" else accuracy.metric
    return (
        f"{name} {accuracy.score:.2%}, {judge} {accuracy.float_score:.2%}, "
        f"drop {accuracy.drop:.2f} points, {accuracy.samples} samples"
    )


def _some(names: list[str], most: int = 5) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _counted(samples: Sequence[Sample], reporter: Reporter) -> Iterator[Sample]:
    reporter.phase("compare the outputs")
    for done, sample in enumerate(samples):
        yield sample
        reporter.progress(done + 1, len(samples))


def _draw(screen: Console, report: ValidationReport, reference: str) -> None:
    listing = text.table(*COLUMNS, right=COLUMNS[1:6])
    for output in report.outputs:
        text.add_row(
            listing,
            output.name,
            f"{output.max_abs:.3g}",
            f"{output.limit:.3g} ({output.limit_means})",
            f"{output.rmse:.3g}",
            f"{output.cosine:.7f}",
            "" if output.top1 is None else f"{output.top1:.1%}",
            "ok" if output.passed else "FAILED",
        )
    screen.print(listing)
    plural = "" if report.samples == 1 else "s"
    screen.print(f"{report.samples} sample{plural} against {reference}")
