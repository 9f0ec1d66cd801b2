"""`fpc validate`: a build against ONNX Runtime, per output."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from footprint_compiler.cli import text
from footprint_compiler.cli.build import parse_constant
from footprint_compiler.cli.command import FpcCommand, settings, show
from footprint_compiler.cli.execute import Executor
from footprint_compiler.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from footprint_compiler.progress import Reporter
    from footprint_compiler.samples import Sample
    from footprint_compiler.validate import ValidationReport

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
    help="Times the output's range (1e-4), or LSB where it is quantized (1).",
)
def validate(
    build: Path,
    model: Path,
    inputs: Path | None,
    samples: int,
    seed: int,
    constants: dict[str, Any],
    tolerance: float | None,
) -> None:
    """Compare the outputs of BUILD with ONNX Runtime; exit code 5 when one is out of tolerance."""
    from footprint_compiler import validate as library
    from footprint_compiler.codegen.read import open_artifact
    from footprint_compiler.output_scales import output_scales
    from footprint_compiler.samples import random_samples, read_samples

    artifact = open_artifact(build)
    reporter = settings().reporter()
    if library.file_sha256(model) != artifact.manifest["model"]["sha256"]:
        reporter.log(f"{model} is not the file that {build} was built from", "warning")
    fixed = {**artifact.manifest["model"].get("constants", {}), **constants}
    reference = library.onnxruntime_reference(model, artifact.outputs, fixed)
    scales = output_scales(model)
    outputs = [
        spec if spec.scale is not None else replace(spec, scale=scales.get(spec.name))
        for spec in artifact.outputs
    ]
    chosen: Sequence[Sample] = (
        read_samples(inputs, artifact.inputs).samples
        if inputs
        else list(random_samples(artifact.inputs, samples, seed))
    )
    execute = Executor(artifact)
    try:
        report = library.validate(
            execute, reference, _counted(chosen, reporter), outputs, tolerance
        )
    finally:
        reporter.close()
    payload = {
        "passed": report.passed,
        "samples": report.samples,
        "outputs": [{**vars(o), "passed": o.passed} for o in report.outputs],
    }
    show(payload, lambda screen: _draw(screen, report))
    failed = [output.name for output in report.outputs if not output.passed]
    if failed and settings().as_json:
        click.get_current_context().exit(ValidationError.exit_code)
    if failed:
        raise ValidationError(f"out of tolerance: {', '.join(failed)}")


def _counted(samples: Sequence[Sample], reporter: Reporter) -> Iterator[Sample]:
    reporter.phase("compare with ONNX Runtime")
    for done, sample in enumerate(samples):
        yield sample
        reporter.progress(done + 1, len(samples))


def _draw(screen: Console, report: ValidationReport) -> None:
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
    screen.print(f"{report.samples} sample{plural} against ONNX Runtime, graph as written")
